import pytest

from spacy_universalner import windows
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.records import Prediction
from spacy_universalner.registry import Answer
from spacy_universalner.windows import ask, cut_windows, merge, place_answer


class Names:
    """Answers with those of some names that stand in the passage; keeps what it was asked."""

    def __init__(self, *names):
        self.names = names
        self.asked = []

    def extract(self, passages, types):
        self.asked.append(list(passages))
        return [
            [Answer(found := tuple(name for name in self.names if name in text), (0.5,) * len(found)) for _ in names]
            for text, names in zip(passages, types, strict=True)
        ]


class Fixed:
    """Gives the answers it is made with."""

    def __init__(self, *answers):
        self.answers = answers

    def extract(self, passages, types):
        return list(self.answers)


TWO = [Answer(), Answer()]
COUNTS = {
    "too few passages": ([TWO] * 11, "11 passages of 12"),
    "too many passages": ([TWO] * 13, "13 passages of 12"),
    "too few types": ([*[TWO] * 11, TWO[:1]], "1 types of 2"),
    "too many types": ([*[TWO] * 11, TWO * 2], "4 types of 2"),
}


@pytest.mark.parametrize(("answers", "message"), COUNTS.values(), ids=COUNTS)
def test_an_engine_that_does_not_answer_everything(answers, message):
    with pytest.raises(UniversalNERError, match=f"U189.*{message}"):
        ask(Fixed(*answers), ["Ada."] * 12, [["a", "b"]] * 12, max_tokens=9, overlap=0)


# One window

PLACED = {
    "nothing": (Answer(), Prediction("t")),
    "at an offset": (Answer(("Ada",)), Prediction("t", ("Ada",), ((10, 13), (18, 21)))),
    "scored": (Answer(("Bob",), (0.5,)), Prediction("t", ("Bob",), ((14, 17),), scores=(0.5,))),
    "lost": (Answer(("Eve", "Bob"), (0.9, 0.5)), Prediction("t", ("Eve", "Bob"), ((14, 17),), ("Eve",), True, (0.5,))),
    "two mentions, one place": (
        Answer(("Bob", " Bob"), (0.5, 0.75)),
        Prediction("t", ("Bob", " Bob"), ((14, 17),), scores=(0.75,)),
    ),
    "scores in the order of the spans": (
        Answer(("Bob", "Ada"), (0.5, 0.25)),
        Prediction("t", ("Bob", "Ada"), ((10, 13), (14, 17), (18, 21)), scores=(0.25, 0.5, 0.25)),
    ),
    "cut off": (Answer(("Bob",), complete=False), Prediction("t", ("Bob",), ((14, 17),), complete=False)),
}


@pytest.mark.parametrize(("answer", "expected"), PLACED.values(), ids=PLACED)
def test_place_answer(answer, expected):
    assert place_answer("t", answer, "Ada Bob Ada", 10) == expected


# Several: "in the city of New York today" cut in two ways

WINDOWS = [(0, 100), (80, 180), (160, 260)]
APART = [(0, 100), (100, 200), (200, 260)]
MERGED = {
    "one window": ([(0, 9)], [[(0, 4)]], [(0, 4)]),
    "apart": (WINDOWS, [[(0, 4)], [(120, 124)], []], [(0, 4), (120, 124)]),
    "twice": (WINDOWS, [[(85, 90)], [(85, 90)], []], [(85, 90)]),
    "in reading order": (
        WINDOWS,
        [[(85, 90), (99, 100)], [(81, 84), (120, 124)], []],
        [(81, 84), (85, 90), (99, 100), (120, 124)],
    ),
    "cut at the end": (WINDOWS, [[(97, 100)], [(97, 105)], []], [(97, 105)]),
    "cut at the start": (WINDOWS, [[(76, 84)], [(80, 84)], []], [(76, 84)]),
    "cut in the last window": (WINDOWS, [[], [(150, 165)], [(160, 165)]], [(150, 165)]),
    "cut with no longer one": (WINDOWS, [[(97, 100)], [(101, 105)], []], [(97, 100), (101, 105)]),
    "cut, and beside a longer one": (WINDOWS, [[(97, 100)], [(98, 105)], []], [(97, 100), (98, 105)]),
    "shorter but not cut": (WINDOWS, [[(86, 90)], [(84, 92)], []], [(84, 92), (86, 90)]),
    "found whole in both": (WINDOWS, [[(97, 100)], [(97, 100)], []], [(97, 100)]),
    "the text's own edges are no cuts": (WINDOWS, [[(0, 4)], [], [(255, 260)]], [(0, 4), (255, 260)]),
    "windows without overlap": (APART, [[(97, 100)], [(100, 105)], []], [(97, 100), (100, 105)]),
}


@pytest.mark.parametrize(("windows", "found", "expected"), MERGED.values(), ids=MERGED)
def test_spans_of_windows(windows, found, expected):
    parts = [Prediction("t", spans=tuple(spans)) for spans in found]
    assert merge("t", windows, parts).spans == tuple(expected)


SCORED = {
    "the higher one": ([[(85, 90, 0.5)], [(85, 90, 0.75)], []], (0.75,)),
    "a span that gives way takes its score with it": ([[(97, 100, 0.9)], [(97, 105, 0.25)], []], (0.25,)),
    "one each": ([[(0, 4, 0.1)], [(85, 90, 0.2)], [(200, 204, 0.3)]], (0.1, 0.2, 0.3)),
    "none is the lowest": ([[(0, 4, 0.1)], [(85, 90, None)], []], (0.1, 0.0)),
}


@pytest.mark.parametrize(("found", "expected"), SCORED.values(), ids=SCORED)
def test_scores_of_windows(found, expected):
    parts = [
        Prediction(
            "t",
            spans=tuple((start, end) for start, end, _ in spans),
            scores=tuple(score for _, _, score in spans if score is not None),
        )
        for spans in found
    ]
    assert merge("t", WINDOWS, parts).scores == expected


def test_what_is_lost_stands_in_no_window():
    parts = [
        Prediction("t", ("Ada", "Eve"), ((0, 3),), lost=("Eve",)),
        Prediction("t", ("Bob", "Eve", "Ada"), ((120, 123),), lost=("Eve", "Ada")),
        Prediction("t", ("Bob",), lost=("Bob",), complete=False),
    ]
    merged = merge("t", WINDOWS, parts)
    assert (merged.mentions, merged.lost, merged.complete) == (("Ada", "Eve", "Bob"), ("Eve",), False)


# Texts


def test_a_text_that_fits_is_one_passage():
    engine = Names("Ada")
    assert ask(engine, [" Ada slept.\n"], [["person"]], max_tokens=8, overlap=2) == [
        [Prediction("person", ("Ada",), ((1, 4),), scores=(0.5,))]
    ]
    assert engine.asked == [["Ada slept."]]


def test_a_name_across_a_cut_is_found_whole():
    engine = Names("New York", "New", "York")
    ((found,),) = ask(engine, ["a b c d e f g New York h i j"], [["city"]], max_tokens=8, overlap=2)
    assert engine.asked == [["a b c d e f g New", "g New York h i j"]]
    assert [span for span in found.spans if span[0] == 14] == [(14, 17), (14, 22)]


def test_each_text_is_asked_its_own_types():
    engine = Names("Ada", "Rome")
    found = ask(engine, ["Ada.", "", "In Rome."], [["x", "y"], ["x"], []], max_tokens=8, overlap=2)
    assert [[(p.type, p.spans) for p in of_text] for of_text in found] == [
        [("x", ((0, 3),)), ("y", ((0, 3),))],
        [("x", ())],
        [],
    ]


def test_many_windows_are_asked_some_at_a_time(monkeypatch):
    text = "Ada met Bob. " * 20
    expected = ask(Names("Ada", "Bob"), [text, text], [["x"]] * 2, max_tokens=4, overlap=0)
    monkeypatch.setattr(windows, "WINDOWS_AT_ONCE", 7)
    engine = Names("Ada", "Bob")
    assert ask(engine, [text, text], [["x"]] * 2, max_tokens=4, overlap=0) == expected
    assert [len(passages) for passages in engine.asked] == [7, 7, 7, 7, 7, 5]


SCRIPTS = {
    "Latin": "Ada met Bob in Rome. " * 400,
    "Chinese": "爱达在罗马遇见了鲍勃" * 400,
    "Thai": "กรุงเทพมหานคร" * 400,
    "emoji": "🛰️👩‍🚀" * 800,
    "mixed": "Ada met Bob in Rome. 爱达在罗马遇见了鲍勃🛰️ " * 200,
    "one word": "x" * 9000,
}


@pytest.mark.parametrize("text", SCRIPTS.values(), ids=SCRIPTS)
def test_a_window_of_any_script_has_room(text):
    spans = list(cut_windows(text, 256, 32))
    assert max(len(text[start:end].encode("utf8")) for start, end in spans) <= 6 * 256
    covered = {i for start, end in spans for i in range(start, end)}
    assert all(char.isspace() for i, char in enumerate(text) if i not in covered)
