"""The page of the benchmark in a browser: its script runs, it asks for nothing, and it fits narrow and wide windows."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from .test_benchmark import make_prediction, make_results, make_row, spans, write

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")
OTHER = spans(("New York", "person"), ("Harvard", "organization"))

pytestmark = pytest.mark.skipif(BROWSER is None, reason=f"no browser on PATH: {', '.join(BROWSERS)}")


@pytest.fixture
def page(tmp_path):
    """A page with two systems on two sets, and passages of three kinds."""
    rows = [make_row(), make_row("ncbi", title="NCBI", domain="Biomed", span_f1=12.0), make_row(system="gliner")]
    many = [make_prediction(f"ai-{i}") for i in range(15)]
    predictions = {
        ("student", "ai"): many,
        ("gliner", "ai"): many[:2],
        ("student", "ncbi"): [make_prediction("ncbi-1", predicted=OTHER)],
    }
    write(tmp_path, make_results(*rows), predictions)
    return tmp_path / "pages" / "benchmark.html"


def open_page(page: Path) -> tuple[str, str]:
    """Open a page and let its script run. RETURNS (tuple): the document as it is then, and what the browser logged."""
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", *QUIET]
    command += [f"--user-data-dir={page.parent / 'profile'}", "--window-size=1000,900"]
    command += ["--enable-logging=stderr", "--v=0", "--virtual-time-budget=3000", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def run_in(page: Path, script: str) -> Any:
    """What a script that is added to the page returns. The page allows its own alone, which is taken back here."""
    text = re.sub(r"<meta http-equiv[^>]*>", "", page.read_text(encoding="utf8"))
    said = f"document.body.dataset.said = JSON.stringify((() => {{ {script} }})());"
    added = f"<script>addEventListener('load', () => {{ {said} }});</script></body>"
    changed = page.with_name("changed.html")
    changed.write_text(text.replace("</body>", added), encoding="utf8")
    said = re.search(r'data-said="([^"]*)"', open_page(changed)[0])
    assert said, "the script did not come to its end"
    return json.loads(unescape(said[1]))


def test_the_page_runs_its_script_without_a_complaint(page):
    shown, log = open_page(page)
    assert "Showing 10 of 15 passages" in shown
    assert "CONSOLE" not in log


LOADED = 'return performance.getEntriesByType("resource").map((entry) => entry.name);'


def test_the_page_asks_for_nothing(page):
    assert run_in(page, LOADED) == []


def test_what_a_page_must_not_do_is_seen(page):
    text = page.read_text(encoding="utf8")
    page.write_text(text.replace("</main>", '</main><img src="http://127.0.0.1:9/a.png">'), encoding="utf8")
    assert "CONSOLE" in open_page(page)[1]
    assert run_in(page, LOADED) == ["http://127.0.0.1:9/a.png"]


CHOICES = {
    "all": ({}, "Showing 10 of 15 passages"),
    "a set": ({"set": "NCBI"}, "Showing 1 of 1 passages"),
    "a system": ({"system": "GLiNER"}, "Showing 2 of 2 passages"),
    "a kind": ({"kind": "missed"}, "Showing 10 of 15 passages"),
    "a type": ({"type": "person"}, "Showing 1 of 1 passages"),
    "a kind of a type": ({"kind": "invented", "type": "person"}, "Showing 1 of 1 passages"),
    "a kind that the type has not": ({"type": "organization", "kind": "invented"}, "Showing 0 of 0 passages"),
}


def test_passages_are_chosen_by_set_system_kind_and_type(page):
    script = """
        const form = document.getElementById("filter"), said = [];
        for (const choice of CHOICES) {
          form.dispatchEvent(new Event("reset", {cancelable: true}));
          for (const [name, value] of Object.entries(choice)) {
            form.elements[name].append(new Option(value, value));
            form.elements[name].value = value;
          }
          form.dispatchEvent(new Event("change"));
          const visible = document.querySelectorAll("#examples > article:not([hidden])").length;
          const count = document.getElementById("count").textContent;
          said.push(count.startsWith(`Showing ${visible} `) ? count : `${visible} are visible`);
        }
        return said;
    """
    said = run_in(page, script.replace("CHOICES", json.dumps([choice for choice, _ in CHOICES.values()])))
    assert said == [expected for _, expected in CHOICES.values()]


def test_the_button_shows_the_rest_and_goes(page):
    script = """
        document.getElementById("more").click();
        const visible = document.querySelectorAll("#examples > article:not([hidden])").length;
        return [visible, document.getElementById("more").hidden, document.activeElement.tagName];
    """
    assert run_in(page, script) == [15, True, "ARTICLE"]


def test_tables_are_sorted_by_the_column_that_is_pressed(page):
    script = """
        const table = document.querySelector(".tall table"), said = [];
        const press = (column) => {
          table.tHead.rows[0].cells[column].querySelector("button").click();
          said.push([...table.tBodies[0].rows].map((row) => row.cells[column].textContent.slice(0, 4)));
        };
        [0, 0, 4, 4, 6].forEach(press);
        return said;
    """
    words, numbers = ["Cros", "NCBI"], ["31.2", "12.0"]
    assert run_in(page, script) == [words, words[::-1], numbers, numbers[::-1], ["31.2", "–"]]


def test_nothing_sticks_out_of_the_window(page):
    script = """
        const html = document.documentElement.outerHTML.replace(/<script>[^]*?<\\/script>/g, "");
        return WIDTHS.map((width) => {
          const frame = document.createElement("iframe");
          frame.style.cssText = `width: ${width}px; height: 800px; border: 0`;
          document.body.append(frame);
          frame.contentDocument.open();
          frame.contentDocument.write(html);
          frame.contentDocument.close();
          const root = frame.contentDocument.documentElement;
          return [frame.contentWindow.innerWidth, root.scrollWidth - root.clientWidth];
        });
    """
    widths = [320, 400, 1400]
    assert run_in(page, script.replace("WIDTHS", str(widths))) == [[width, 0] for width in widths]
