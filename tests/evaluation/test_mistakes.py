import pytest

from spacy_universalner.evaluation.mistakes import KINDS, Mistake, count_mistakes, find_mistakes, sample_mistakes

TEXT = "Ada Lovelace met Bee in New York City"
ADA, LOVELACE, BOTH, BEE = (0, 3), (4, 12), (0, 12), (17, 20)


def row(gold, said, id_="r", **more):
    gold, predicted = ([[*offsets, type_] for offsets, type_ in found] for found in (gold, said))
    spans = {"gold": gold, "predicted": predicted}
    return {"id": id_, "text": TEXT, "types": ["a", "b", "c"], **spans, "mentions": {}, **more}


# gold and predicted spans with their types; what is found
CASES = {
    "nothing": ([], [], {}),
    "right": ([(ADA, "a")], [(ADA, "a")], {"correct": 1}),
    "missed": ([(ADA, "a")], [], {"missed": 1}),
    "invented": ([], [(ADA, "a")], {"invented": 1}),
    "elsewhere": ([(ADA, "a")], [(BEE, "a")], {"missed": 1, "invented": 1}),
    "boundary": ([(BOTH, "a")], [(ADA, "a")], {"boundary": 1}),
    "type": ([(ADA, "a")], [(ADA, "b")], {"type": 1}),
    "boundary and type": ([(BOTH, "a")], [(ADA, "b")], {"boundary+type": 1}),
    "a second part of one": ([(BOTH, "a")], [(ADA, "a"), (LOVELACE, "a")], {"boundary": 1, "invented": 1}),
    "one for two": ([(ADA, "a"), (LOVELACE, "a")], [(BOTH, "a")], {"boundary": 1, "missed": 1}),
    "a type too many": ([(ADA, "a")], [(ADA, "a"), (ADA, "b")], {"correct": 1, "invented": 1}),
    "a type too few": ([(ADA, "a"), (ADA, "b")], [(ADA, "a")], {"correct": 1, "missed": 1}),
    "a part of one that is right": ([(BOTH, "a")], [(BOTH, "a"), (ADA, "a")], {"correct": 1, "invented": 1}),
    "the same type before the same span": ([(BOTH, "a")], [(BOTH, "b"), (ADA, "a")], {"boundary": 1, "invented": 1}),
    "the same span before neither": ([(BOTH, "a")], [(BOTH, "b"), (ADA, "c")], {"type": 1, "invented": 1}),
    "types exchanged": ([(ADA, "a"), (BEE, "b")], [(ADA, "b"), (BEE, "a")], {"type": 2}),
}


@pytest.mark.parametrize(("gold", "said", "counts"), CASES.values(), ids=CASES)
def test_kinds_of_mistakes(gold, said, counts):
    assert count_mistakes([row(gold, said)]) == {**dict.fromkeys(("correct", *KINDS), 0), **counts}


def test_a_mistake_names_its_spans():
    found = find_mistakes(row([(BOTH, "a"), (BEE, "b")], [(BEE, "a"), (ADA, "a"), ((24, 27), "a")]))
    assert found == [
        Mistake("boundary", (*BOTH, "a"), (*ADA, "a")),
        Mistake("type", (*BEE, "b"), (*BEE, "a")),
        Mistake("invented", predicted=(24, 27, "a")),
    ]


def test_sentences_are_apart():
    assert count_mistakes([row([(ADA, "a")], []), row([], [(ADA, "a")])])["correct"] == 0


def test_examples_are_drawn_of_each_kind():
    rows = [row([(ADA, "a")], [], str(i), set="s") for i in range(50)]
    rows.append(row([(BOTH, "a")], [(ADA, "a")], "x", scores=[0.25]))
    found = sample_mistakes(rows, limit=3)
    assert list(found) == list(KINDS)
    assert [len(found[kind]) for kind in KINDS] == [1, 0, 0, 3, 0]
    assert found["boundary"] == [
        {"set": "", "id": "x", "text": TEXT, "gold": [*BOTH, "a"], "predicted": [*ADA, "a"], "score": 0.25}
    ]
    assert found["missed"][0]["set"] == "s" and found["missed"][0]["predicted"] is found["missed"][0]["score"] is None
    ids = [int(example["id"]) for example in found["missed"]]
    assert ids == sorted(set(ids)) and ids != [0, 1, 2]


def test_the_same_seed_draws_the_same_examples():
    rows = [row([(ADA, "a")], [], str(i)) for i in range(50)]
    assert sample_mistakes(rows, seed=1) == sample_mistakes(rows, seed=1) != sample_mistakes(rows, seed=2)
