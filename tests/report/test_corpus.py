import pytest

from spacy_universalner.corpus.filtering import REASONS, RULES
from spacy_universalner.report import corpus

from .pages import EVIL, Page

SNIPPET = "… the passage around it …"
REPORT = {
    "replies": 40,
    "records": 34,
    "pairs": 700,
    "mentions": 690,
    "types": 100,
    "rejected": {**dict.fromkeys(REASONS, 0), "unparseable": 6, "not in text": 10},
    "examples": {
        "unparseable": [{"passage_id": "p2", "entity": "", "type": "", "snippet": f"Sorry. {EVIL}"}],
        "not in text": [{"passage_id": "p1", "entity": EVIL, "type": "x", "snippet": SNIPPET}],
    },
    "domains": {"law": 21, EVIL: 19},
    "passage_tokens": {"60": 10, "110": 25, "170": 5},
    "entities_per_passage": {"0": 4, "23": 30},
    "type_counts": {"person": 500, EVIL: 93, **{f"rare type {i:03}": 1 for i in range(97)}},
}
EMPTY = {
    **dict.fromkeys(("replies", "records", "pairs", "mentions", "types"), 0),
    **{key: {} for key in ("rejected", "examples", "domains", "passage_tokens", "entities_per_passage", "type_counts")},
}


def test_the_page_is_whole_and_needs_nothing_else(tmp_path):
    path = tmp_path / "reports" / "corpus.html"
    corpus.write_corpus_page(REPORT, path)
    page = Page(path.read_text(encoding="utf8"))
    assert page.links
    assert page.tags.count("svg") == 2


SHOWN = {
    "passages kept": "of 40 labelled",
    "entities a passage": "of 700 listed, 20.3 a passage",
    "the paper's shares": "74.0",
    "the paper's types": "11,718",
    "a type of the tail": "rare type 096",
    "lengths": "mean 105.0, median 110, from 60 to 170",
    "a domain": "law",
    "a reason": "not in text: 1 of 10",
    "a snippet": SNIPPET,
    "a reply": "Sorry.",
    "a reason that did not occur": "the pair was listed before; kept once",
}


@pytest.mark.parametrize("shown", SHOWN.values(), ids=SHOWN)
def test_the_page_shows(shown):
    assert shown in Page(corpus.render_corpus(REPORT)).text


def test_what_a_teacher_wrote_is_escaped():
    html = corpus.render_corpus(REPORT)
    assert EVIL not in html
    assert Page(html).text.count(EVIL) >= 4


def test_a_rule_that_did_not_apply_is_marked():
    text = Page(corpus.render_corpus(REPORT, rules=RULES[1:])).text
    assert text.count("this rule was off") == 1
    assert "this rule was off" not in Page(corpus.render_corpus(REPORT)).text


def test_an_empty_corpus_has_a_page():
    page = Page(corpus.render_corpus(EMPTY))
    assert "Nothing was left out." in page.text and "svg" not in page.tags


def test_replies_and_pairs_kept_and_dropped():
    assert corpus.tabulate_outcome(REPORT).rows == [
        ("replies", 40, 34, 85.0, 6, 15.0),
        ("pairs", 700, 690, 98.6, 10, 1.4),
    ]


def test_reasons_are_shares_of_replies_or_of_pairs():
    rows = {row[0]: row[1:4] for row in corpus.tabulate_reasons(REPORT).rows}
    assert set(rows) == set(REASONS)
    assert rows["unparseable"] == ("reply", 6, 15.0) and rows["not in text"] == ("pair", 10, 1.43)


def test_ranges_hold_every_type_once_and_show_ten():
    ranges = corpus.tabulate_ranges({f"type {i:04}": 2000 - i for i in range(1000)}).rows
    assert [(row[3], row[4]) for row in ranges] == [(10, 130), (90, 1172), (900, 11718)]
    assert [len(row[5].split(", ")) for row in ranges] == [10, 10, 10]
    assert sum(row[1] for row in ranges) == pytest.approx(100, abs=0.2)


SIZES = {
    "one": ({5: 3}, "mean 5.0, median 5, from 5 to 5"),
    "even": ({1: 2, 9: 2}, "mean 5.0, median 1, from 1 to 9"),
    "skewed": ({1: 1, 2: 1, 30: 1}, "mean 11.0, median 2, from 1 to 30"),
    "none": ({}, "none counted"),
}


@pytest.mark.parametrize(("counts", "said"), SIZES.values(), ids=SIZES)
def test_sizes_in_words(counts, said):
    assert corpus.describe_sizes(counts) == said


def test_shares_of_head_and_tail():
    rows = corpus.tabulate_shares({str(i): 74 if i == 0 else 2 if i < 10 else 0 for i in range(100)}).rows
    assert [row[1:3] for row in rows] == [(1, 80.4), (9, 19.6), (90, 0.0)]
    assert corpus.tabulate_shares({}).rows[0][1:3] == (0, None)
