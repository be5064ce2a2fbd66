"""The shared prefix, batches and early end against plain `generate` on each whole prompt."""

import json
from itertools import islice

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from spacy_universalner.encoding import Encoder
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.extraction import Extractor
from spacy_universalner.prompts import load_template
from spacy_universalner.registry import Answer

from .conftest import CONVERSATIONS, ROOT

TYPES = ["person", "city", "date", "ship's name", "größe", "a very long type, of many words"]
PASSAGES = [
    "It rained.",
    "Ada met Grace in Paris.",
    "Grace saw Oslo and Bonn. Bob left Rome in May, and Ada met Grace in Paris 14 times before 1999.",
    "x",
    "Łódź ∑ 東京 👩‍🚀 «Bob»",
    "Bob left Rome in May. " * 4,
    "It rained. " * 8,
]
ASKED = [TYPES[: 1 + i % len(TYPES)] for i in range(len(PASSAGES))]


class SpiedExtractor(Extractor):
    """Keeps the ids generated for each question, and the passages and the width of each batch."""

    def _answer(self, batch):
        super()._answer(batch)
        for group in batch:
            for number, ids in enumerate(group.answers, group.first):
                self.numbered.setdefault(group.index, {})[number] = ids
        self.sizes.append((len(batch), max(group.width for group in batch)))

    @property
    def ids(self):
        return {i: [ids for _, ids in sorted(answers.items())] for i, answers in sorted(self.numbered.items())}


def make_extractor(folder, *, batch_tokens=4096, max_new_tokens=16) -> SpiedExtractor:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    encoder = Encoder(AutoTokenizer.from_pretrained(folder), load_template(folder))
    extractor = SpiedExtractor(model, encoder, batch_tokens=batch_tokens, max_new_tokens=max_new_tokens)
    extractor.numbered, extractor.sizes = {}, []
    return extractor


def generate(extractor, passages, types) -> dict[int, list[list[int]]]:
    """The ids of `generate`, one prompt at a time; cut where the extractor calls an answer ended."""
    found = {}
    for i, (text, names) in enumerate(zip(passages, types, strict=True)):
        for name in names:
            prompt = torch.tensor([[*extractor.encoder.passage(text), *extractor.encoder.ask(name)]])
            ids = extractor.model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                do_sample=False,
                max_new_tokens=extractor.max_new_tokens,
                eos_token_id=extractor.encoder.end,
                pad_token_id=0,
            )[0, prompt.shape[1] :].tolist()
            ends = (n for n in range(1, len(ids)) if extractor._ended(ids[:n]))
            found.setdefault(i, []).append(ids[: next(ends, len(ids))])
    return found


@pytest.fixture(scope="module")
def expected(tiny_student, tuned_student):
    """What `generate` says, for a student of random weights, whose answers never end, and for a tuned one."""
    folders = {"random": tiny_student, "tuned": tuned_student}
    return {name: (path, generate(make_extractor(path), PASSAGES, ASKED)) for name, path in folders.items()}


@pytest.mark.parametrize("student", ["random", "tuned"])
@pytest.mark.parametrize("batch_tokens", [1, 300, 900, 100_000])
def test_ids_are_those_of_generate(expected, student, batch_tokens):
    folder, ids = expected[student]
    extractor = make_extractor(folder, batch_tokens=batch_tokens)
    extractor.extract(PASSAGES, ASKED)
    assert extractor.ids == ids


@pytest.mark.parametrize("student", ["random", "tuned"])
def test_ids_do_not_depend_on_the_order_of_passages(expected, student):
    folder, ids = expected[student]
    extractor = make_extractor(folder, batch_tokens=900)
    extractor.extract(PASSAGES[::-1], ASKED[::-1])
    assert extractor.ids == {len(PASSAGES) - 1 - i: answers for i, answers in ids.items()}


def test_the_tuned_student_ends_answers_in_every_way(expected):
    """So that the comparisons above see the empty list, the end token, and answers cut off."""
    folder, ids = expected["tuned"]
    student = make_extractor(folder)
    flat = [answer for answers in ids.values() for answer in answers]
    ended = {"empty" if tuple(a) == student.empty else "end" if a[-1] == student.encoder.end else "cut" for a in flat}
    assert ended >= {"empty", "end"}
    assert len({len(a) for a in flat}) > 3


@pytest.mark.slow
def test_ids_of_the_real_student_are_those_of_generate(real_student):
    with (ROOT / "assets" / "passages.jsonl").open(encoding="utf8") as file:
        passages = [json.loads(line)["text"] for line in islice(file, 0, 60, 10)]
    types = [["person", "city", "date", "organization", "event", "product", "animal"]] * len(passages)
    extractor = make_extractor(real_student, batch_tokens=2048, max_new_tokens=48)
    extractor.extract(passages, types)
    assert extractor.ids == generate(extractor, passages, types)


@pytest.mark.parametrize("batch_tokens", [1, 300, 900, 100_000])
def test_batches_keep_to_their_tokens(tiny_student, batch_tokens):
    extractor = make_extractor(tiny_student, batch_tokens=batch_tokens, max_new_tokens=1)
    extractor.extract(PASSAGES, ASKED)
    assert all(rows == 1 or rows * width <= batch_tokens for rows, width in extractor.sizes)


BUDGETS = {"one question at a time": (1, sum(map(len, ASKED))), "all at once": (100_000, 1)}


@pytest.mark.parametrize(("batch_tokens", "count"), BUDGETS.values(), ids=BUDGETS)
def test_how_many_batches(tiny_student, batch_tokens, count):
    extractor = make_extractor(tiny_student, batch_tokens=batch_tokens, max_new_tokens=1)
    extractor.extract(PASSAGES, ASKED)
    assert len(extractor.sizes) == count


def test_answers_come_in_the_order_asked(tuned_student):
    extractor = make_extractor(tuned_student, batch_tokens=400, max_new_tokens=32)
    answers = extractor.extract([c.text for c in CONVERSATIONS], [[q.type for q in c.queries] for c in CONVERSATIONS])
    assert answers == [[Answer(q.mentions) for q in c.queries] for c in CONVERSATIONS]


def test_a_cut_off_answer_is_not_complete(tuned_student):
    extractor = make_extractor(tuned_student, max_new_tokens=3)
    assert [a.complete for a in extractor.extract([CONVERSATIONS[0].text], [["person", "date"]])[0]] == [False, True]


def test_an_answer_that_is_no_list_is_not_complete(tiny_student):
    extractor = make_extractor(tiny_student)
    assert extractor.extract(["It rained."], [["person"]]) == [[Answer((), complete=False)]]


NOTHING = {
    "no passages": ([], [], []),
    "no types": (["It rained."], [[]], [[]]),
    "no types for one of two": (["A.", "It rained."], [[], ["city"]], [[], [Answer(())]]),
    "empty passage": ([""], [[]], [[]]),
}


@pytest.mark.parametrize(("passages", "types", "answers"), NOTHING.values(), ids=NOTHING)
def test_nothing_asked(tuned_student, passages, types, answers):
    assert make_extractor(tuned_student).extract(passages, types) == answers


def test_an_empty_passage_is_answered(tuned_student):
    assert len(make_extractor(tuned_student).extract([""], [["person", "city"]])[0]) == 2


def test_as_many_types_as_passages(tuned_student):
    with pytest.raises(ValueError, match="shorter"):
        make_extractor(tuned_student).extract(["A.", "B."], [["person"]])


def test_a_passage_too_long(tiny_student):
    with pytest.raises(UniversalNERError, match=r"U052.*context of 512.*max_passage_tokens"):
        make_extractor(tiny_student).extract(["It rained.", "Paris " * 300], [["person"], ["person"]])


def test_room_for_the_answer_is_kept(tiny_student):
    extractor = make_extractor(tiny_student, max_new_tokens=512)
    with pytest.raises(UniversalNERError, match="U052"):
        extractor.extract(["It rained."], [["person"]])


REPEATS = {
    "a list that goes round": (["Ada", "Bob", "Ada"], True),
    "different mentions": (["Ada", "Bob"], False),
    "one mention": (["Ada"], False),
    "no mention": ([], False),
}


@pytest.mark.parametrize(("mentions", "expected"), REPEATS.values(), ids=REPEATS)
def test_an_answer_that_repeats_itself_has_ended(tiny_student, mentions, expected):
    extractor = make_extractor(tiny_student)
    exchange = extractor.encoder.exchange("person", mentions)
    answer = exchange.ids[exchange.answer_start : -1]
    assert extractor._repeats(answer) is expected
