"""The page of the benchmark: systems beside the paper, and passages that they got wrong."""

import re
from collections import Counter
from types import SimpleNamespace

import pytest

from spacy_universalner.gold.datasets import DATASETS
from spacy_universalner.records import write_rows
from spacy_universalner.report import benchmark, examples

from .pages import EVIL, TEXT, Page, spans

PAPER = {"chatgpt": 52.4, "uniner": 53.6, "supervised": 62.6}
GOLD = spans(("Grace Hopper", "person"), ("Harvard", "organization"))
PREDICTED = spans(("Grace Hopper", "person"), ("New York", "place"))


def make_row(set_="ai", system="student", **changes):
    return {
        "set": set_,
        "family": "CrossNER",
        "title": f"CrossNER {set_}",
        "domain": "General",
        "protocol": "zero-shot",
        "split": "test",
        "system": system,
        "sentences": 200,
        "questions": 2600,
        "sentences_paper": 431,
        **{"span_f1": 31.25, "ents_f1": 32.5, "string_f1": 30.5, "partial_f1": 40.0},
        "span_interval": [28.1, 34.0],
        "per_type": {
            "person": {"span_f1": 50.0, "string_f1": 49.0, "support": 120, "predicted": 100},
            "place": {"span_f1": 0.0, "string_f1": 0.0, "support": 0, "predicted": 7},
        },
        "mistakes": {"correct": 100, "boundary": 20, "type": 10, "boundary+type": 4, "missed": 60, "invented": 90},
        "paper": PAPER,
        "seconds": 61.5,
        "peak_rss_mb": 900.0,
        "predictions": f"metrics/benchmark/{system}/{set_}.jsonl",
        "unread": None,
        **changes,
    }


def make_results(*rows, **changes):
    systems = {"student": {"title": "Our student"}, "gliner": {"title": "GLiNER"}}
    facts = {"unread": [], "systems": systems, "limit": 200, "seed": 3, "protocol": "zero-shot"}
    return {"rows": list(rows), **facts, **changes}


def make_prediction(id_="ai-1", **changes):
    return {"set": "ai", "id": id_, "text": TEXT, "gold": GOLD, "predicted": PREDICTED, "incomplete": [], **changes}


def find_mistakes(row):
    """Whatever is on one side alone."""
    for kind, side, other in (("missed", "gold", "predicted"), ("invented", "predicted", "gold")):
        for span in row[side]:
            if span not in row[other]:
                yield SimpleNamespace(**{"kind": kind, side: span, other: None})


def write(tmp_path, results, predictions=()):
    """The page and the Markdown of results, with predictions by system and set."""
    for (system, set_), rows in dict(predictions).items():
        write_rows(tmp_path / "predictions" / system / f"{set_}.jsonl", rows)
    html, markdown = tmp_path / "pages" / "benchmark.html", tmp_path / "benchmark.md"
    folder = tmp_path / "predictions"
    benchmark.write_benchmark(results, folder, find_mistakes=find_mistakes, html=html, markdown=markdown)
    return html.read_text(encoding="utf8"), markdown.read_text(encoding="utf8")


STUDENT, GLINER = make_row(), make_row(system="gliner", span_f1=41.0, string_f1=40.0, span_interval=None)
BARE = {
    "span_f1": None,
    "ents_f1": None,
    "string_f1": None,
    "partial_f1": None,
    "span_interval": None,
    "per_type": {},
    "mistakes": {},
}
UNREAD = [{"set": EVIL, "system": "student", "reason": "U082 <tag> & more"}]
RESULTS = {
    "nothing at all": {},
    "no rows": make_results(),
    "one system": make_results(STUDENT),
    "two systems": make_results(STUDENT, GLINER, make_row("ncbi", domain="Biomed")),
    "no paper numbers": make_results(make_row(paper={}, sentences_paper=None)),
    "no scores": make_results(make_row(**BARE)),
    "a domain that the paper has not": make_results(make_row(domain="Law & order")),
    "something unread": make_results(STUDENT, make_row("ncbi", unread="no file"), unread=UNREAD),
    "hostile": make_results(
        make_row(
            EVIL.replace("/", ""),
            title=EVIL,
            domain=EVIL,
            protocol=EVIL,
            per_type={EVIL: {"span_f1": 1.0, "support": 2}},
            mistakes={EVIL: 1},
        ),
        systems={"student": {"title": EVIL}},
    ),
}


@pytest.mark.parametrize("results", RESULTS.values(), ids=RESULTS)
def test_the_page_is_whole_and_needs_nothing_else(tmp_path, results):
    html, markdown = write(tmp_path, results)
    Page(html, scripts=1)
    assert "alert(1)</script>" not in html
    assert "<script>alert" not in markdown.replace("\\<", "")


def test_texts_ids_and_types_of_others_are_escaped(tmp_path):
    row = make_prediction(EVIL, text=f"{EVIL} & 'so' \"on\"", gold=[[0, 8, EVIL]], predicted=[[0, 8, "'x'"]])
    html, _ = write(tmp_path, make_results(STUDENT), {("student", "ai"): [row]})
    page = Page(html, scripts=1)
    assert "alert(1)</script>" not in html
    assert page.text.count(f"“{EVIL[:8]}” {EVIL}") == 1


def test_only_the_pages_own_script_may_run(tmp_path):
    html, _ = write(tmp_path, make_results(STUDENT))
    script = re.search(r"<script>(.*)</script>", html, re.S)[1]
    digest = benchmark.b64encode(benchmark.sha256(script.encode()).digest()).decode()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)[1]
    assert f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy


def test_a_set_is_a_line_with_the_systems_beside_the_paper(tmp_path):
    markdown = write(tmp_path, make_results(STUDENT, GLINER))[1]
    line = "| CrossNER ai | General | 200 | 431 | 31.2 (28.1–34.0) | 30.5 | 41.0 | 40.0 | 52.4 | 53.6 | 62.6 |"
    assert line in markdown


def test_a_system_that_was_not_asked_has_dashes(tmp_path):
    markdown = write(tmp_path, make_results(make_row(paper={}), make_row("ncbi", "gliner", paper={})))[1]
    assert "| CrossNER ai | General | 200 | 431 | 31.2 (28.1–34.0) | 30.5 | – | – | – | – | – |" in markdown


def test_means_are_over_the_sets_that_were_run_the_papers_too():
    rows = [make_row(), make_row("music", string_f1=20.5, paper={"chatgpt": 66.6, "uniner": 65.0, "supervised": 66.6})]
    (table,) = benchmark.tabulate_means(rows, {("student", "zero-shot"): "s"})
    assert table.rows == [("s", "zero-shot", 2, 31.25, 32.5, 25.5, 40.0, 59.5, 59.3, 64.6)]


def test_sets_that_the_paper_has_not_are_left_out_where_it_is_compared():
    rows = [make_row(), make_row("wnut", string_f1=20.5, paper={})]
    (table,) = benchmark.tabulate_means(rows, {("student", "zero-shot"): "s"})
    assert [row[:6] for row in table.rows] == [
        ("s", "zero-shot", 2, 31.25, 32.5, 25.5),
        ("s, the paper's sets", "zero-shot", 1, 31.25, 32.5, 30.5),
    ]
    assert [row[7:] for row in table.rows] == [(None, None, None), (52.4, 53.6, 62.6)]


def test_systems_that_were_asked_about_other_sets_are_compared_on_those_they_share():
    rows = [make_row(), make_row("music", string_f1=20.5), make_row(system="gliner")]
    arms = {("student", "zero-shot"): "s", ("gliner", "zero-shot"): "g"}
    means, shared = benchmark.tabulate_means(rows, arms)
    assert [row[5] for row in means.rows] == [25.5, 30.5]
    assert [row[2:6:3] for row in shared.rows] == [(1, 30.5), (1, 30.5)]


ARMS = {
    "one protocol": ([make_row()], ["Our student"]),
    "two protocols": (
        [make_row(), make_row(protocol="supervised")],
        ["Our student, zero-shot", "Our student, supervised"],
    ),
    "two systems of one title": (
        [make_row(), make_row(system="other")],
        ["Our student [student]", "Our student [other]"],
    ),
    "a system without a title": ([make_row(system="bert")], ["bert"]),
}


@pytest.mark.parametrize(("rows", "names"), ARMS.values(), ids=ARMS)
def test_systems_have_names_of_their_own(rows, names):
    systems = {"student": {"title": "Our student"}, "other": {"title": "Our student"}}
    found = benchmark.name_arms({"systems": systems}, rows)
    assert list(found.values()) == names


WARNINGS = {
    "a sample": (make_results(STUDENT), ["A sample: at most 200 sentences"]),
    "full sets": (make_results(make_row(sentences=431), limit=0), []),
    "full sets of another size": (make_results(STUDENT, limit=0), ["perhaps not the same ones: CrossNER ai."]),
    "nothing": (make_results(limit=0), ["Nothing was measured."]),
}


@pytest.mark.parametrize(("results", "said"), WARNINGS.values(), ids=WARNINGS)
def test_what_makes_numbers_hard_to_compare_is_said_first(tmp_path, results, said):
    warnings = benchmark.list_warnings(results, benchmark.list_measured(results))
    assert len(warnings) == len(said)
    for text in write(tmp_path, results):
        assert all(part in text for part in said)


def test_what_was_not_read_is_listed_once_with_its_reason(tmp_path):
    unread = {"set": "ncbi", "system": "student", "reason": "no file"}
    results = make_results(make_row("ncbi", unread="no file"), unread=[unread])
    markdown = write(tmp_path, results)[1]
    assert markdown.count("| ncbi | student | no file |") == 1 and "CrossNER ncbi" not in markdown


def test_a_domain_says_how_many_of_its_sets_were_run():
    rows = [make_row(), make_row("music", string_f1=20.5)]
    (line,) = benchmark.tabulate_domains(rows, {("student", "zero-shot"): "s"}).rows
    assert line == ("General", "s", "2 of 16", 31.25, 25.5, 52.4, 53.6, 51.0, 53.2)
    assert "2 of 16" in Page(str(benchmark.draw_domains(rows, {("student", "zero-shot"): "s"}))).text


def test_figure_5_has_the_domains_of_all_49_rows():
    assert benchmark.SETS == 49
    for place, printed in ((1, 34.9), (2, 41.7)):
        mean = sum(domain[0] * domain[place] for domain in benchmark.FIGURE_5.values()) / 49
        assert mean == pytest.approx(printed, abs=0.06)


def test_what_is_right_is_no_mistake():
    table = benchmark.tabulate_mistakes([STUDENT], {("student", "zero-shot"): "s"})
    assert table.header == ("set", "system", "boundary", "type", "boundary+type", "missed", "invented", "all")
    assert table.rows == [("CrossNER ai", "s", 20, 10, 4, 60, 90, 184)]


def test_types_have_their_support_and_the_score_of_each_system():
    arms = {("student", "zero-shot"): "s", ("gliner", "zero-shot"): "g"}
    rows = [STUDENT, make_row(system="gliner", per_type={"person": {"span_f1": 60.0, "support": 120}})]
    found = benchmark.tabulate_types(rows, arms).rows
    assert found == [("CrossNER ai", "person", 120, 50.0, 60.0), ("CrossNER ai", "place", 0, 0.0, None)]


def test_paired_differences_are_shown_where_there_are_any(tmp_path):
    found = {"set": "ai", "a": "gliner", "b": "student", "metric": "span_f1", "difference": 9.75, "low": 4.0}
    results = make_results(STUDENT, GLINER, comparisons=[{**found, "high": 15.0, "p": 0.0004}])
    html, markdown = write(tmp_path, results)
    assert "| CrossNER ai | GLiNER | Our student | span F1 | 9.8 (4.0–15.0) | \\< 0.001 |" in markdown
    assert 'id="differences"' in html
    assert 'id="differences"' not in write(tmp_path, make_results(STUDENT))[0]


def test_a_passage_is_shown_with_its_mistakes_in_words(tmp_path):
    rows = [make_prediction(incomplete=["award"]), make_prediction("ai-2", predicted=GOLD)]
    html, _ = write(tmp_path, make_results(STUDENT), {("student", "ai"): rows})
    page = Page(html, scripts=1)
    assert page.tags.count("article") == 1
    assert "CrossNER ai, ai-1: Our student" in page.text
    assert "missed “Harvard” organization" in page.text and "invented “New York” place" in page.text
    assert "cut off award" in page.text
    assert "1 of 1 passages with a mistake" in page.text
    assert """data-marks='[["invented", "place"], ["missed", "organization"]]'""" in html


def test_predictions_that_are_missing_are_named(tmp_path):
    page = Page(write(tmp_path, make_results(STUDENT))[0], scripts=1)
    assert "student/ai.jsonl" in page.text and "No passage to show" in page.text


def sample(tmp_path, sizes, **settings):
    """Draw from files with so many wrong passages each, by (set, system)."""
    asked = []
    for (set_, system), size in sizes.items():
        path = tmp_path / system / f"{set_}.jsonl"
        write_rows(path, (make_prediction(f"{set_}-{i}") for i in range(size)))
        asked.append((path, set_, system))
    return examples.sample_examples(asked, find_mistakes, **{"seed": 0, **settings})


def test_systems_share_the_passages_of_a_set(tmp_path):
    found = sample(tmp_path, {("a", "one"): 50, ("a", "two"): 50, ("b", "one"): 3}, per_set=8)
    assert [(e.set, e.system) for e in found.examples] == [("a", "one")] * 4 + [("a", "two")] * 4 + [("b", "one")] * 3
    ids = [e.id for e in found.examples]
    assert ids[:4] == ids[4:8]
    assert found.wrong == 103


def test_the_sample_hangs_on_its_seed_alone(tmp_path):
    sizes = {("a", "one"): 50}
    drawn = [[e.id for e in sample(tmp_path, sizes, per_set=5, seed=seed).examples] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_page_stays_small_and_every_set_has_its_share(tmp_path):
    sizes = {(set_, "one"): 50 for set_ in "abcd"}
    one = len(sample(tmp_path, {("a", "one"): 1}).examples[0].gold)
    found = sample(tmp_path, sizes, size=12 * one)
    assert {e.set for e in found.examples} == set("abcd")
    assert len(found.examples) < 12


def test_passages_that_are_too_long_are_counted_and_not_drawn(tmp_path):
    found = sample(tmp_path, {("a", "one"): 2}, longest=10)
    assert (found.examples, found.wrong, found.long) == ([], 2, 2)


def test_the_papers_figure_counts_the_sets_of_the_registry():
    assert Counter(dataset.domain for dataset in DATASETS.values()) == {
        domain: sets for domain, (sets, _, _) in benchmark.FIGURE_5.items()
    }
