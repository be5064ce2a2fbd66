import re

import pytest

from spacy_universalner.report import drawing

from .pages import EVIL, TEXT, Page, spans


@pytest.mark.parametrize(
    "marks",
    [
        [],
        spans(("Grace Hopper", "person")),
        spans(("U.S. Navy", "org"), ("U.S.", "country")),
        spans(("York University", "a"), ("New York", "b"), ("New York University & Harvard", "c")),
        spans(("New York", "city"), ("New York", "place"), ("New York", "city")),
        spans((TEXT, "all")),
        spans(("A-0 {the first linker}", "{label}")),
        spans(("Harvard", EVIL)),
    ],
)
def test_spans_keep_the_text_and_name_every_entity_once(marks):
    html = str(drawing.draw_spans(TEXT, marks))
    labels = re.findall(r'class="label"[^>]*>([^<]*)<', html)
    assert sorted(labels) == sorted({(s, e, lb): drawing.escape(lb) for s, e, lb in marks}.values())
    without = Page(re.sub(r'<span class="label".*?</span>', "", html))
    assert "".join(without.text.split()) == "".join(TEXT.split())
    assert " ".join(without.text.split()) == TEXT


def test_segments_cut_at_edges_and_at_spaces_where_long():
    assert drawing.cut_segments("one two", [0, 4]) == [0, 4, 7]
    assert drawing.cut_segments("one two", [], longest=5) == [0, 4, 7]
    assert drawing.cut_segments("one two", [3]) == [0, 3, 4, 7]
    assert drawing.cut_segments("", []) == [0]


HISTOGRAMS = {
    "few sizes": ({3: 2, 5: 1}, "3 passages by tokens, from 3 to 5."),
    "one size": ({7: 4}, "4 passages by tokens, from 7 to 7."),
    "many sizes": ({size: 1 for size in range(1000)}, "1000 passages by tokens, from 0 to 999."),
}


@pytest.mark.parametrize(("counts", "said"), HISTOGRAMS.values(), ids=HISTOGRAMS)
def test_a_histogram_says_what_it_shows(counts, said):
    html = str(drawing.draw_histogram(counts, of="passages", per="tokens"))
    assert Page(html).tags[0] == "svg" and said in html


@pytest.mark.parametrize(("sizes", "bars"), [(3, 3), (40, 40), (41, 21), (1000, 40)])
def test_a_histogram_has_a_bar_for_the_same_number_of_sizes(sizes, bars):
    html = str(drawing.draw_histogram(dict.fromkeys(range(sizes), 1), of="passages", per="tokens"))
    assert html.count("fill: #1f5f99") == bars


def test_a_histogram_of_nothing_is_empty():
    assert drawing.draw_histogram({}, of="passages", per="tokens") == ""


def test_curves_of_nothing_are_empty():
    assert drawing.draw_precision_recall({}, {}) == drawing.draw_reliability({}) == ""


def test_curves_say_their_best_f1():
    html = str(
        drawing.draw_precision_recall({"dev": [[0.9, 100, 10, 18.2], [0.1, 50, 50, 50]]}, {EVIL: [[0.5, 1, 2, 3]]})
    )
    assert "dev: best F1 50.0" in html and EVIL not in html
    assert Page(html).tags[0] == "svg"


def test_curves_say_what_they_show():
    html = str(drawing.draw_curves({"one": [(1, 5.0), (4, 2.5)], "two": []}, xlabel="labels", ylabel="ms"))
    assert Page(html).tags[0] == "svg"
    assert 'aria-label="ms over labels. one: 1 5.0, 4 2.5."' in html


def test_curves_without_a_point_are_empty():
    assert drawing.draw_curves({"one": []}, xlabel="labels", ylabel="ms") == ""
