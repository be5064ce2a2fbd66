"""The page of a study: its students, the paper's beside them."""

import pytest

from spacy_universalner.report import study
from spacy_universalner.report.run import PAPER_SETS

from .pages import EVIL, Page

SCORES = {"span_precision": 40.0, "span_recall": 30.0, "span_f1": 34.3, "string_f1": 31.2, "lost": 3}


def make_arm(f1=None, **changes):
    """A student's result; without a mean the zero-shot sets were not asked about."""
    facts = {"conversations": 424, "questions": 7597, "negatives": 0, "steps": 38, "tokens": 100407, "seconds": 356.2}
    sets = {} if f1 is None else {name: {**SCORES, "string_f1": f1, "span_f1": f1 + 1} for name in PAPER_SETS}
    mean = None if f1 is None else {"string_f1": f1, "span_f1": f1 + 1, "sentences": 175, "questions": 2000}
    arm = {
        **facts,
        "loss": 0.7,
        "dev_loss": 0.66,
        "compute": "float32",
        "dev": SCORES,
        "unseen": None,
        "share": 1.0,
        "sets": sets,
        "mean": mean,
        **changes,
    }
    return {"runs": [arm], **arm}


NEGATIVES = {"none": make_arm(11.5), "uniform": make_arm(21.25), "frequency": make_arm(22.5)}


def write(tmp_path, name, arms):
    html, markdown = tmp_path / "pages" / "study.html", tmp_path / "study.md"
    study.write_study(name, arms, html=html, markdown=markdown)
    return html.read_text(encoding="utf8"), markdown.read_text(encoding="utf8")


STUDIES = {"of the paper": "negatives", "of ours": "questions", "hostile": EVIL}


@pytest.mark.parametrize("name", STUDIES.values(), ids=STUDIES)
def test_the_page_is_whole_and_needs_nothing_else(tmp_path, name):
    page = Page(write(tmp_path, name, {**NEGATIVES, EVIL: make_arm(1.0)})[0])
    assert page.tags.count("svg") == 1
    assert "11.5" in page.text


def test_the_papers_numbers_stand_beside_ours(tmp_path):
    markdown = write(tmp_path, "negatives", NEGATIVES)[1]
    assert "| none | 11.5 | 11.5 | 11.5 | 11.5 | 11.5 | 11.5 | 11.5 | 11.5 |" in markdown
    assert "| none (paper) | 19.1 | 19.1 | 25.1 | 39.5 | 42.7 | 48.9 | 26.2 | 31.5 |" in markdown
    assert "table 4, a model of 7B" in markdown


def test_a_study_of_ours_has_no_number_of_the_paper(tmp_path):
    assert "(paper)" not in write(tmp_path, "questions", NEGATIVES)[1]


@pytest.mark.parametrize("name", study.PAPER)
def test_the_papers_means_are_those_of_its_sets(name):
    for arm, scores in study.PAPER[name].items():
        if arm != "title":
            assert sum(scores[:-1]) / 7 == pytest.approx(scores[-1], abs=0.06)


GROWING = {
    str(size): make_arm(f1, share=size / 400, conversations=size, dev={**SCORES, "string_f1": 2 * f1}, unseen=SCORES)
    for size, f1 in ((100, 10.0), (200, 13.0), (400, 16.0))
}


def test_students_of_more_and_more_data_make_a_learning_curve(tmp_path):
    html, markdown = write(tmp_path, "data", GROWING)
    assert "dev: 100 20.0, 200 26.0, 400 32.0" in html
    assert "| string F1 after conversations | 100 | 200 | 400 | per doubling |" in markdown
    assert "| mean of the zero-shot sets | 10.0 | 13.0 | 16.0 | 3.0 |" in markdown
    assert "| types not learnt | 31.2 | 31.2 | 31.2 | 0.0 |" in markdown


OTHERS = {
    "of the same data": NEGATIVES,
    "of more and more data of other kinds": {str(size): make_arm(1.0, conversations=size) for size in (14, 26, 40)},
    "of two shares": dict(list(GROWING.items())[:2]),
    "of shrinking shares": dict(reversed(GROWING.items())),
}


@pytest.mark.parametrize("arms", OTHERS.values(), ids=OTHERS)
def test_other_studies_make_none(arms):
    assert study.measure_growth(arms) == {}


def test_without_zero_shot_sets_the_dev_scores_are_shown(tmp_path):
    html, markdown = write(tmp_path, "questions", {"isolated": make_arm()})
    page = Page(html)
    assert "svg" not in page.tags
    assert "vars.benchmark_data" in page.text
    assert "31.2" in page.text
    assert "| isolated | – |" in markdown


def test_a_mean_of_zero_is_not_taken_for_none():
    assert study.list_headline({"none": make_arm(0.0)})[0][1] == "0.0"


def test_seeds_stand_side_by_side(tmp_path):
    runs = [make_arm(f1) for f1 in (10.0, 12.0, 14.0)]
    markdown = write(tmp_path, "reading", {"twice": make_arm(12.0, runs=runs), "once": make_arm(9.0)})[1]
    assert "| twice | zero-shot mean | 11.0, 13.0, 15.0 | 13.0 | 2.0 |" in markdown
    assert "| twice | types not learnt" not in markdown
    assert "| once | zero-shot mean" not in markdown


def test_one_seed_has_no_deviation(tmp_path):
    assert "deviation" not in write(tmp_path, "negatives", NEGATIVES)[1]
