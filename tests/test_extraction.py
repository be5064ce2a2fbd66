"""The shared prefix, batches and early end against plain `generate` on each whole prompt."""

import json
from dataclasses import replace
from functools import cache
from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from spacy_universalner.align import place
from spacy_universalner.encoding import Encoder
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.extraction import PACES, Extractor, Pace
from spacy_universalner.parsing import is_whole, parse_pairs
from spacy_universalner.prompts import ALL_IN_ONE_V1, TEMPLATES, UNINER_V1, load_template
from spacy_universalner.records import Conversation, Query
from spacy_universalner.registry import Answer
from spacy_universalner.training.examples import collate, make_row

from .conftest import CONVERSATIONS, ROOT, tune, without_scores

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

    def answer(self, groups):
        super().answer(groups)
        self.ids = {group.index: [answer.ids for answer in group.answers] for group in groups if group.answers}

    def _batches(self, groups, tokens):
        for batch in super()._batches(groups, tokens):
            self.sizes.append((len(batch), max(group.width for group in batch)))
            yield batch

    def ended(self, ids):
        return self.vocabulary.ends(ids, self.encoder.decode(ids))


def make_extractor(folder, *, template=None, batch_tokens=4096, max_new_tokens=16, **settings) -> SpiedExtractor:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    encoder = Encoder(AutoTokenizer.from_pretrained(folder), template or load_template(folder))
    extractor = SpiedExtractor(model, encoder, batch_tokens=batch_tokens, max_new_tokens=max_new_tokens, **settings)
    extractor.sizes = []
    return extractor


def generate(extractor, passages, types) -> dict[int, list[list[int]]]:
    """The ids of `generate`, one prompt at a time; cut where the extractor calls an answer ended."""
    found = {}
    for i, (text, names) in enumerate(zip(passages, types, strict=True)):
        for group in extractor.template.groups(names):
            prompt = torch.tensor([[*extractor.encoder.passage(text), *extractor.encoder.ask(tuple(group))]])
            ids = extractor.model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                do_sample=False,
                max_new_tokens=min(extractor.max_new_tokens * len(group), extractor.context - prompt.shape[1]),
                eos_token_id=extractor.encoder.end,
                pad_token_id=0,
            )[0, prompt.shape[1] :].tolist()
            ends = (n for n in range(1, len(ids)) if extractor.ended(ids[:n]))
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
    assert extractor.packed
    assert extractor.ids == ids


@pytest.mark.parametrize("student", ["random", "tuned"])
@pytest.mark.parametrize("batch_tokens", [1, 100_000])
def test_ids_of_a_model_that_is_handed_masks_are_those_of_generate(expected, student, batch_tokens):
    folder, ids = expected[student]
    extractor = make_extractor(folder, batch_tokens=batch_tokens)
    extractor.packed = False
    extractor.extract(PASSAGES, ASKED)
    assert extractor.ids == ids


@pytest.mark.parametrize("student", ["random", "tuned"])
@pytest.mark.parametrize("step", [1, 1000])
@pytest.mark.parametrize("open_", [1, 3, 1000])
def test_the_pace_changes_no_answer(expected, student, step, open_, monkeypatch):
    folder, ids = expected[student]
    monkeypatch.setitem(PACES, "cpu", Pace(prefill=200, open=open_, step=step))
    extractor = make_extractor(folder)
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
    said = [student.encoder.decode(answer) for answer in flat]
    ways = {"empty" if text == " []" else "whole" if is_whole(text) else "cut" for text in said}
    assert ways >= {"empty", "whole"}
    assert len({len(answer) for answer in flat}) > 3
    assert all(student.encoder.end not in answer for answer, text in zip(flat, said, strict=True) if is_whole(text))


def real_questions(passages=125, longest=450):
    """Short passages of the corpus, each with two types of its own reply and two of others'."""
    with (ROOT / "assets" / "replies.jsonl").open(encoding="utf8") as file:
        replies = {row["passage_id"]: row["reply"] for row in map(json.loads, file)}
    with (ROOT / "assets" / "passages.jsonl").open(encoding="utf8") as file:
        rows = [row for row in map(json.loads, file) if row["id"] in replies and len(row["text"]) <= longest]
    rows = rows[:: len(rows) // passages][:passages]
    present = [list(dict.fromkeys(kind for _, kind in parse_pairs(replies[row["id"]]) or ()))[:2] for row in rows]
    known = list(dict.fromkeys(kind for kinds in present for kind in kinds))
    types = []
    for i, kinds in enumerate(present):
        others = (kind for kind in known[i * 7 % len(known) :] + known if kind not in kinds)
        types.append([*kinds, *islice(others, 4 - len(kinds))])
    return [row["text"] for row in rows], types


@pytest.mark.slow
def test_ids_of_the_real_student_are_those_of_generate(real_student):
    """Five hundred questions, one by one against all together."""
    passages, types = real_questions()
    assert sum(map(len, types)) == 500
    extractor = make_extractor(real_student, batch_tokens=4096, max_new_tokens=24)
    extractor.extract(passages, types)
    assert extractor.ids == generate(extractor, passages, types)


@pytest.mark.parametrize("batch_tokens", [1, 300, 900, 100_000])
def test_batches_keep_to_their_tokens(tiny_student, batch_tokens):
    extractor = make_extractor(tiny_student, batch_tokens=batch_tokens, max_new_tokens=1)
    extractor.extract(PASSAGES, ASKED)
    assert all(rows == 1 or rows * width <= batch_tokens for rows, width in extractor.sizes)


BUDGETS = {"one question at a time": (1, sum(map(len, ASKED))), "as many as a CPU takes": (100_000, 2)}


@pytest.mark.parametrize(("batch_tokens", "count"), BUDGETS.values(), ids=BUDGETS)
def test_how_many_batches(tiny_student, batch_tokens, count):
    extractor = make_extractor(tiny_student, batch_tokens=batch_tokens, max_new_tokens=1)
    extractor.extract(PASSAGES, ASKED)
    assert len(extractor.sizes) == count


def test_answers_come_in_the_order_asked(tuned_student):
    extractor = make_extractor(tuned_student, batch_tokens=400, max_new_tokens=32)
    answers = extractor.extract([c.text for c in CONVERSATIONS], [[q.type for q in c.queries] for c in CONVERSATIONS])
    assert without_scores(answers) == [[Answer(q.mentions) for q in c.queries] for c in CONVERSATIONS]


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
    "a list that goes round": (' ["Ada", "Bob", "Ada"', True),
    "a list that went round": (' ["Ada", "Bob", "Ada"]', True),
    "different mentions": (' ["Ada", "Bob"', False),
    "one mention": (' ["Ada"', False),
    "no mention": (" [", False),
}


@pytest.mark.parametrize(("said", "expected"), REPEATS.values(), ids=REPEATS)
def test_an_answer_that_repeats_itself_has_ended(tiny_student, said, expected):
    extractor = make_extractor(tiny_student)
    assert extractor.ended(extractor.encoder.tokenizer(said)["input_ids"]) is expected


# Every template

DEFINITIONS = {
    "person": 'A human being, called "they" in {text}.',
    "city": "A place where many live, e.g. {type}.",
    "date": "When something was or will be.",
}
DEFINED = tuple(
    replace(c, queries=tuple(Query(DEFINITIONS[q.type], q.mentions) for q in c.queries)) for c in CONVERSATIONS
)
NAMED = tuple(replace(c, dataset="set one") for c in CONVERSATIONS)
CONTRADICTING = tuple(
    Conversation(f"{text} {dataset}", text, (Query("person", mentions),), dataset)
    for text, answers in {
        "Ada met Grace in Paris.": {"": ("Ada", "Grace"), "set one": ("Ada",), "set two": ()},
        "Bob left Rome in May.": {"": ("Bob",), "set one": (), "set two": ("Bob", "Rome")},
    }.items()
    for dataset, mentions in answers.items()
)
LESSONS = {
    "plain.v1": ("llama_base", CONVERSATIONS, {}),
    "uniner.v1": ("llama_base", CONVERSATIONS, {"questions": "multi-turn"}),
    "dataset.v1": ("tiny_base", (*CONTRADICTING, *NAMED[2:]), {}),
    "definition.v1": ("tiny_base", DEFINED, {}),
    "all-in-one.v1": ("tiny_base", CONVERSATIONS, {"epochs": 240}),
}


@pytest.fixture(scope="module")
def learn(tiny_base, llama_base, tmp_path_factory):
    """A template's student that has learnt conversations by heart, and these conversations."""
    bases = {"tiny_base": tiny_base, "llama_base": llama_base}

    @cache
    def _learn(name):
        base, conversations, changes = LESSONS[name]
        return tune(bases[base], tmp_path_factory.mktemp(name), conversations, template=name, **changes), conversations

    return _learn


@pytest.mark.parametrize("name", LESSONS)
def test_a_student_learns_in_every_template(learn, name):
    folder, conversations = learn(name)
    student = make_extractor(folder)
    rows = [make_row(student.encoder, conversation, conversation.queries) for conversation in conversations]
    batch = collate(rows, 0, isolated=name != "uniner.v1")
    layout = batch.layout
    with torch.no_grad():
        logits = student.model(layout.ids, attention_mask=layout.mask, position_ids=layout.positions).logits
    right = logits.flatten(0, 1)[batch.predict].argmax(-1) == batch.targets
    assert right.float().mean() > 0.95


@pytest.mark.parametrize("name", [name for name in LESSONS if name != "uniner.v1"])
def test_a_student_answers_in_the_template_it_learnt(learn, name):
    """All but the released checkpoints', where other words are asked than learnt: too much for 30,000 weights."""
    folder, conversations = learn(name)
    student = make_extractor(folder, max_new_tokens=32)
    texts, datasets = [c.text for c in conversations], [c.dataset for c in conversations]
    answers = student.extract(texts, [[q.type for q in c.queries] for c in conversations], datasets)
    assert without_scores(answers) == [[Answer(q.mentions) for q in c.queries] for c in conversations]


def test_a_plain_student_answers_what_released_checkpoints_are_asked(learn):
    """Both are asked the same ids."""
    folder, conversations = learn("plain.v1")
    student = make_extractor(folder, template=UNINER_V1, max_new_tokens=32)
    answers = student.extract([c.text for c in conversations], [[q.type for q in c.queries] for c in conversations])
    assert without_scores(answers) == [[Answer(q.mentions) for q in c.queries] for c in conversations]


@pytest.mark.parametrize("batch_tokens", [1, 900])
@pytest.mark.parametrize("name", LESSONS)
def test_ids_are_those_of_generate_in_every_template(learn, name, batch_tokens):
    student = make_extractor(learn(name)[0], batch_tokens=batch_tokens)
    student.extract(PASSAGES, ASKED)
    assert student.ids == generate(student, PASSAGES, ASKED)


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("base", ["tiny_base", "llama_base"])
def test_ids_of_random_weights_are_those_of_generate_in_every_template(request, base, name):
    student = make_extractor(request.getfixturevalue(base), template=TEMPLATES[name], batch_tokens=900)
    student.extract(PASSAGES, ASKED)
    assert student.ids == generate(student, PASSAGES, ASKED)


ENDS = {
    "nothing": [Query("person", ())],
    "mentions": [Query("person", ("Ada", "Zoë"))],
    "marks in mentions": [Query("person", ('a "b"', "c]", "}"))],
    "more types": [Query("person", ()), Query("city", ("Ada", "a]}")), Query("date", ())],
}


@pytest.mark.parametrize("queries", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("base", ["tiny_base", "llama_base"])
def test_an_answer_ends_with_its_last_bracket(request, base, name, queries):
    student = make_extractor(request.getfixturevalue(base), template=TEMPLATES[name])
    for group in student.template.groups(queries):
        exchange = student.encoder.exchange(group)
        said = exchange.ids[exchange.answer_start : -1]
        assert [student.ended(said[:end]) for end in range(1, len(said) + 1)] == [False] * (len(said) - 1) + [True]


@pytest.mark.parametrize("said", ["[]", " []", "  []", " [ ]"])
def test_no_mention_is_said_in_many_ways_by_released_checkpoints(llama_base, said):
    student = make_extractor(llama_base, template=UNINER_V1)
    assert student.ended(student.encoder.tokenizer(said, add_special_tokens=False)["input_ids"])


@pytest.mark.parametrize("types", [TYPES[:1], TYPES], ids=["one type", "many types"])
def test_an_answer_has_room_for_each_of_its_types(tiny_base, types):
    student = make_extractor(tiny_base, template=ALL_IN_ONE_V1, max_new_tokens=5)
    student.extract(["It rained."], [types])
    assert len(student.ids[0][0]) == 5 * len(types), "random weights do not end an answer"


def test_the_room_ends_with_the_context(tiny_base):
    student = make_extractor(tiny_base, template=ALL_IN_ONE_V1, max_new_tokens=100)
    (answers,) = student.extract(["It rained."], [TYPES])
    prompt = len(student.encoder.passage("It rained.")) + len(student.encoder.ask(tuple(TYPES)))
    assert len(student.ids[0][0]) <= student.context - prompt < 100 * len(TYPES)
    assert answers == [Answer((), complete=False)] * len(TYPES)


def test_types_cut_off_in_one_answer_are_not_complete(learn):
    folder, conversations = learn("all-in-one.v1")
    types = [query.type for query in conversations[0].queries]
    student = make_extractor(folder, max_new_tokens=32)
    whole = student.extract([conversations[0].text], [types])[0]
    student.max_new_tokens = (len(student.ids[0][0]) - 1) // len(types)
    cut = student.extract([conversations[0].text], [types])[0]
    assert [answer.complete for answer in whole] == [True, True, True]
    assert {answer.complete for answer in cut} == {True, False}
    assert all(part == full for part, full in zip(cut, whole, strict=True) if part.complete)


# Answers that are held to the passage and cut

HELD = {"constrain": True, "min_score": 0.05}
ODD = st.text('aÉë "\\\n.,[]{}\u0301京👩\u200d🚀', max_size=24)


def said(extractor, passages=PASSAGES, asked=ASKED):
    """Ids and scores of all answers."""
    answers = extractor.extract(passages, asked)
    return extractor.ids, [answer.scores for found in answers for answer in found]


@pytest.fixture(scope="module")
def make_held(tiny_base, llama_base):
    """An extractor of random weights whose answers are held to the passage."""
    bases = {"tiny_base": tiny_base, "llama_base": llama_base}
    return cache(lambda base, name: make_extractor(bases[base], template=TEMPLATES[name], constrain=True))


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("base", ["tiny_base", "llama_base"])
@settings(max_examples=8, deadline=None)
@given(passages=st.lists(ODD, min_size=1, max_size=2), label=ODD.filter(lambda label: label.strip()))
def test_every_mention_of_random_weights_can_be_placed(make_held, base, name, passages, label):
    extractor = make_held(base, name)
    for text, answers in zip(passages, extractor.extract(passages, [[label, "person"]] * len(passages)), strict=True):
        assert not [lost for answer in answers for lost in place(text, answer.mentions)[1]]
        assert all(0 <= score <= 1 for answer in answers for score in answer.scores)
        assert all(len(answer.scores) == len(answer.mentions) for answer in answers)


def test_answers_that_name_spans_alone_are_the_same_when_held_to_the_passage(expected):
    folder, ids = expected["tuned"]
    free, held = make_extractor(folder), make_extractor(folder, constrain=True)
    answers = free.extract(PASSAGES, ASKED)
    held.extract(PASSAGES, ASKED)
    same = [
        (i, j)
        for i, text in enumerate(PASSAGES)
        for j, answer in enumerate(answers[i])
        if answer.complete and not place(text, answer.mentions)[1]
    ]
    assert len(same) > 5
    assert all(held.ids[i][j] == ids[i][j] for i, j in same)


@pytest.fixture(scope="module")
def held_to(tiny_student, tuned_student):
    """What two students say when held to the passage, all at once and packed."""
    folders = {"random": tiny_student, "tuned": tuned_student}
    return cache(lambda student: (folders[student], *said(make_extractor(folders[student], **HELD))))


@pytest.mark.parametrize("student", ["random", "tuned"])
@pytest.mark.parametrize("batch_tokens", [1, 300])
def test_held_answers_do_not_depend_on_batches(held_to, student, batch_tokens):
    folder, ids, scores = held_to(student)
    got, sure = said(make_extractor(folder, batch_tokens=batch_tokens, **HELD))
    assert got == ids
    assert [pytest.approx(score, rel=1e-3) for score in scores] == sure


@pytest.mark.parametrize("student", ["random", "tuned"])
@pytest.mark.parametrize("pace", [Pace(200, 1, 1), Pace(200, 1000, 1000)])
def test_held_answers_do_not_depend_on_the_pace(held_to, student, pace, monkeypatch):
    folder, ids, scores = held_to(student)
    monkeypatch.setitem(PACES, "cpu", pace)
    got, sure = said(make_extractor(folder, **HELD))
    assert got == ids
    assert [pytest.approx(score, rel=1e-3) for score in scores] == sure


@pytest.mark.parametrize("student", ["random", "tuned"])
def test_held_answers_do_not_depend_on_the_order(held_to, student):
    folder, ids, _ = held_to(student)
    got, _ = said(make_extractor(folder, **HELD), PASSAGES[::-1], ASKED[::-1])
    assert got == {len(PASSAGES) - 1 - i: answers for i, answers in ids.items()}


@pytest.mark.parametrize("student", ["random", "tuned"])
def test_a_model_that_is_handed_masks_is_as_sure(held_to, student):
    folder, ids, scores = held_to(student)
    extractor = make_extractor(folder, **HELD)
    extractor.packed = False
    got, sure = said(extractor)
    assert got == ids
    assert [pytest.approx(score, rel=1e-3) for score in scores] == sure


# Odd calls

NOTHING = {"no passage": ([], []), "no type": (["It rained.", ""], [[], []])}


@pytest.mark.parametrize(("passages", "types"), NOTHING.values(), ids=NOTHING)
def test_nothing_is_asked(tiny_student, passages, types):
    assert make_extractor(tiny_student).extract(passages, types) == [[] for _ in passages]


ASKED_ODDLY = {
    "an empty passage": ([""], [["person"]]),
    "the same type twice": (["Ada met Bob."], [["person", "city", "person"]]),
    "a passage without types": (["It rained.", "Ada met Bob.", "x"], [[], ["person"], []]),
    "many types": (["Ada met Bob."], [[f"person of kind {i}" for i in range(90)]]),
}


@pytest.mark.parametrize(("passages", "types"), ASKED_ODDLY.values(), ids=ASKED_ODDLY)
def test_ids_of_odd_questions_are_those_of_generate(tuned_student, passages, types):
    extractor = make_extractor(tuned_student, max_new_tokens=4)
    extractor.extract(passages, types)
    assert extractor.ids == generate(extractor, passages, types)


def test_one_token_may_be_all_that_is_said(tuned_student):
    extractor = make_extractor(tuned_student, max_new_tokens=1)
    extractor.extract(PASSAGES, ASKED)
    assert extractor.ids == generate(extractor, PASSAGES, ASKED)


def test_guesses_keep_to_the_context(tiny_student):
    """Models that learnt their positions have none beyond it."""
    text = "Ada met Grace in Paris, and Bob left Rome in May."
    extractor = make_extractor(tiny_student, max_new_tokens=20, constrain=True)
    asked = len(extractor.encoder.passage(text)) + len(extractor.encoder.ask(("person",)))
    extractor.context = asked + extractor.max_new_tokens
    positions = []
    extractor.model.register_forward_pre_hook(
        lambda _, args, kwargs: positions.append(int(kwargs["position_ids"].max())), with_kwargs=True
    )
    extractor.extract([text], [["person"]])
    assert asked < max(positions) < extractor.context
