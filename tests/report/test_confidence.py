import pytest

from spacy_universalner.records import read_json, write_json
from spacy_universalner.report import confidence
from spacy_universalner.report import run as report
from spacy_universalner.report.tables import format_markdown

from .pages import EVIL, Page
from .test_run import paths  # noqa: F401  (a fixture)

BINS = [
    {"count": 20, "score": 0.31, "right": 0.1, "low": 0.03, "high": 0.3},
    {"count": 21, "score": 0.97, "right": 0.9, "low": 0.7, "high": 0.97},
]
ERRORS = {"mean_score": 0.64, "share_right": 0.51, "ece": 0.137, "brier": 0.218, "bins": BINS}


def measured(**more):
    curve = [[0.99, 100.0, 10.0, 18.2], [0.625, 80.0, 40.0, 53.3], [0.01, 30.0, 50.0, 37.5]]
    counts = {"spans": 41, "unscored": 0, "gold": 60}
    rates = {"f1": 37.5, "best_f1": 53.3, "best_threshold": 0.625, "average_precision": 44.4}
    return {**counts, **rates, "curve": curve, **ERRORS, **more}


FROM_DEV = {
    "spans": 123,
    "threshold": {"threshold": 0.625, "precision": 71.0, "recall": 35.5, "f1": 47.3},
    "slope": 0.5,
    "bias": -0.75,
    "before": ERRORS,
    "after": {**ERRORS, "ece": 0.041},
}
DEV = {"confidence": measured()}
SETS = {"sets": {name: {"confidence": measured()} for name in (EVIL, "ai")}, "confidence": measured(spans=82)}
ALL = {**SETS, "from_dev": FROM_DEV}
NAMES = ["dev", EVIL, "ai", "zero-shot, all sets"]

CASES = {
    "dev and sets": (DEV, ALL, [*NAMES, "zero-shot, all sets, calibrated"]),
    "dev alone": (DEV, {"sets": {}, "confidence": None, "from_dev": None}, ["dev"]),
    "dev before there were sets": (DEV, {}, ["dev"]),
    "sets alone": ({"confidence": None}, SETS, NAMES[1:]),
    "a set without a span": (DEV, {**SETS, "sets": {"ai": {"confidence": None}}}, ["dev", "zero-shot, all sets"]),
}


@pytest.mark.parametrize(("dev", "zero_shot", "names"), CASES.values(), ids=CASES)
def test_the_tables_have_a_line_for_what_was_measured(dev, zero_shot, names):
    thresholds, errors, *bins = confidence.tabulate_confidence(dev, zero_shot)
    assert [row[0] for row in errors.rows] == names
    assert [row[0] for row in thresholds.rows] == [name for name in names if "calibrated" not in name]
    titles = [f"Reliability, {name}" for name in ("dev", "zero-shot, all sets") if name in names]
    assert [table.title for table in bins] == titles


@pytest.mark.parametrize(("dev", "zero_shot"), [({}, {}), ({"confidence": None}, {"sets": {"ai": {}}})])
def test_nothing_is_shown_without_scores(dev, zero_shot):
    assert confidence.tabulate_confidence(dev, zero_shot) == confidence.draw_confidence(dev, zero_shot) == []
    assert confidence.summarize_confidence(dev, zero_shot) == {"dev": None, "zero_shot": None}


def test_the_tables_say_what_was_measured():
    thresholds, errors, reliability, _ = map(format_markdown, confidence.tabulate_confidence(DEV, ALL))
    assert "| dev | 60 | 41 | 37.5 | 53.3 | 0.625 | 44.4 |" in thresholds
    assert "best on dev, 0.625, the zero-shot sets together have precision 71.0, recall 35.5, F1 47.3" in thresholds
    assert "| zero-shot, all sets, calibrated | 82 | 64.0 | 51.0 | 4.1 | 21.8 |" in errors
    assert "sigmoid(0.5 logit(score) -0.75)" in errors
    assert "| 20 | 31.0 | 10.0 | 3.0 | 30.0 |" in reliability


@pytest.mark.parametrize(("unscored", "said"), [(0, False), (7, True)])
def test_spans_without_a_score_are_told_of(unscored, said):
    note = confidence.tabulate_confidence({"confidence": measured(unscored=unscored)}, {})[0].note
    assert ("left out here: 7" in note) == said


@pytest.mark.parametrize(("dev", "zero_shot", "names"), CASES.values(), ids=CASES)
def test_the_pictures_name_what_they_show(dev, zero_shot, names):
    (curves, caption), (reliability, _) = confidence.draw_confidence(dev, zero_shot)
    shown = [Page(str(curves)).text, Page(str(reliability)).text]
    assert all(name in shown[0] for name in names if "calibrated" not in name)
    assert ("zero-shot, calibrated" in shown[1]) == ("zero-shot, all sets, calibrated" in names)
    assert "recall" in caption and EVIL not in str(curves)


def test_the_report_has_the_section(paths):  # noqa: F811
    write_json(paths["dev"], {**read_json(paths["dev"]), **DEV})
    found = read_json(paths["zero_shot"])
    found["sets"]["ai"]["confidence"] = measured()
    write_json(paths["zero_shot"], {**found, "confidence": measured(), "from_dev": FROM_DEV})
    run = report.read_run(**paths)
    page, markdown = Page(report.render_html(run)), report.render_markdown(run)
    assert page.tags.count("svg") == 3
    for text in (page.text, markdown):
        assert "Reliability, dev" in text and "Brier" in text and confidence.NO_SCORES not in text
    assert report.summarize(run)["confidence"]["zero_shot"]["ece"] == 0.137


def test_the_report_says_where_there_are_no_scores(paths):  # noqa: F811
    run = report.read_run(**paths)
    for text in (Page(report.render_html(run)).text, report.render_markdown(run)):
        assert confidence.NO_SCORES in text and "Brier" not in text
