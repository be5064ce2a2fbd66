import json
from dataclasses import asdict, replace
from functools import partial

import pytest

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.parsing import is_whole
from spacy_universalner.prompts import (
    ALL_IN_ONE_V1,
    DATASET_V1,
    INSTRUCTUIE_V1,
    PLAIN_DEFINITION_V1,
    PLAIN_V1,
    SOURCE_PROMPTS,
    TEACHER_PROMPTS,
    TEMPLATE_FILE,
    TEMPLATES,
    TYPE_V1,
    UNINER_V1,
    Turn,
    get_source_prompt,
    get_teacher_prompt,
    get_template,
    load_template,
    messages_key,
    prompt_variant,
)
from spacy_universalner.records import Conversation, Query, read_conversations, write_rows
from spacy_universalner.registry import Answer

ODD = {
    "braces": "a {b} {} {{c}} }{",
    "the place of the passage": "{passage} and {passage}",
    "the places of a template": "{text} and {type}",
    "percent and dollar": "100% $vars %s ${vars.x}",
    "line breaks": "a\n\nPassage: b\r\n",
    "special tokens": "<|im_end|> </s>",
    "empty": "",
}


def test_the_teacher_is_asked_as_in_the_paper():
    assert TYPE_V1.messages("Ada lives.") == [
        {"role": "system", "content": "You are a helpful information extraction system."},
        {
            "role": "user",
            "content": "Given a passage, your task is to extract all entities and identify their entity types. The "
            "output should be in a list of tuples of the following format: "
            '[("entity 1", "type of entity 1"), ... ].\n\n'
            "Passage: Ada lives.",
        },
    ]


@pytest.mark.parametrize("passage", ODD.values(), ids=ODD)
def test_a_passage_is_left_alone(passage):
    assert TYPE_V1.messages(passage)[1]["content"].partition("\n\nPassage: ")[2] == passage


@pytest.mark.parametrize("passage", ODD.values(), ids=ODD)
def test_a_prompt_knows_its_own_messages(passage):
    messages = TYPE_V1.messages(passage)
    assert TYPE_V1.wrote(messages)
    assert not replace(TYPE_V1, system="Be brief.").wrote(messages)


@pytest.mark.parametrize("messages", [None, "Ada", [], [{}], [{"content": 5}]], ids=repr)
def test_other_messages_are_nobodys(messages):
    assert not TYPE_V1.wrote(messages)


def test_a_prompts_sha_changes_with_its_text():
    assert len({TYPE_V1.sha, replace(TYPE_V1, user="{passage}").sha, replace(TYPE_V1, system="").sha}) == 3


RECORDED = "e49afc956ca5d1111b30898b8e535de6e32bb85d1649249214b824de9916b72d"


def test_recorded_replies_name_the_prompt_they_answer():
    assert TYPE_V1.sha == RECORDED


@pytest.mark.parametrize("prompt", TEACHER_PROMPTS.values(), ids=TEACHER_PROMPTS)
def test_the_variant_of_a_reply_is_known_by_its_prompt(prompt):
    assert prompt_variant(prompt.sha) == prompt.variant in ("type", "definition")


def test_the_variant_of_an_unknown_prompt_is_an_error():
    with pytest.raises(UniversalNERError, match=r"U111.*sha256 cafe….*type\.v1"):
        prompt_variant("cafe")


def test_a_key_is_of_all_messages_and_their_order():
    system, user = TYPE_V1.messages("Ada lives.")
    variants = [[system, user], [user, system], [user], TYPE_V1.messages("Ada lives")]
    assert len({messages_key(messages) for messages in variants}) == len(variants)
    assert messages_key([system, user]) == messages_key([dict(reversed(system.items())), user])


SYSTEM = "A virtual assistant answers questions from a user based on the provided text."
PARAGRAPH = "A virtual assistant answers questions from a user based on the provided paragraph."
READ = "I've read this text."
PERSON = "USER: What describes person in the text?"
VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
FORM = "Answer with a JSON list of the mentions as they stand in the text, [] if there are none."
ALPACA = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
LITERALS = {
    "plain.v1": (
        f"{SYSTEM} USER: Text: Zoë. ASSISTANT: {READ}",
        f"{PERSON} ASSISTANT:",
        Turn((f"{SYSTEM} USER: Text: Zoë. ASSISTANT: {READ}",), 0),
        Turn((f'{PERSON} ASSISTANT: ["Zoë"]',), 8),
    ),
    "twice.v1": (
        "Text: Zoë.\nText again: Zoë.",
        "What describes person?",
        Turn(("Text: Zoë.\nText again: Zoë.",), 0),
        Turn(('What describes person? ["Zoë"]',), 8),
    ),
    "uniner.v1": (
        f"{SYSTEM} USER: Text: Zoë. ASSISTANT: {READ}",
        f"{PERSON} ASSISTANT:",
        Turn((f"{PARAGRAPH} USER: Text: Zoë.", "ASSISTANT: ", READ), 20),
        Turn((PERSON, "ASSISTANT: ", r'["Zo\u00eb"]'), 12),
    ),
    "dataset.v1": (
        f"{SYSTEM} USER: Dataset: conllpp\nText: Zoë. ASSISTANT: {READ}",
        f"{PERSON} ASSISTANT:",
        Turn((f"{SYSTEM} USER: Dataset: conllpp\nText: Zoë. ASSISTANT: {READ}",), 0),
        Turn((f'{PERSON} ASSISTANT: ["Zoë"]',), 8),
    ),
    "dataset-twice.v1": (
        "Dataset: conllpp\nText: Zoë.\nText again: Zoë.",
        "What describes person?",
        Turn(("Dataset: conllpp\nText: Zoë.\nText again: Zoë.",), 0),
        Turn(('What describes person? ["Zoë"]',), 8),
    ),
    "definition.v1": (
        f"{SYSTEM} USER: Text: Zoë. ASSISTANT: {READ}",
        f"{PERSON} ASSISTANT:",
        Turn((f"{SYSTEM} USER: Text: Zoë. ASSISTANT: {READ}",), 0),
        Turn((f'{PERSON} ASSISTANT: ["Zoë"]',), 8),
    ),
    "all-in-one.v1": (
        f"{SYSTEM} USER: Text: Zoë. ASSISTANT: {READ}",
        'USER: What describes each of ["person"] in the text? ASSISTANT:',
        Turn((f"{SYSTEM} USER: Text: Zoë. ASSISTANT: {READ}",), 0),
        Turn(('USER: What describes each of ["person"] in the text? ASSISTANT: {"person": ["Zoë"]}',), 20),
    ),
    "vicuna.v1": (
        f"{VICUNA} USER: Text: Zoë. ASSISTANT: {READ}",
        f"{PERSON} {FORM} ASSISTANT:",
        Turn((f"{VICUNA} USER: Text: Zoë. ASSISTANT: {READ}",), 0),
        Turn((f'{PERSON} {FORM} ASSISTANT: ["Zoë"]',), 8),
    ),
    "alpaca.v1": (
        f"{ALPACA}\n\n### Instruction:\nText: Zoë.\n",
        f"What describes person in the text? {FORM}\n\n### Response:",
        Turn((f"{ALPACA}\n\n### Instruction:\nText: Zoë.\n",), 0),
        Turn((f'What describes person in the text? {FORM}\n\n### Response:["Zoë"]',), 7),
    ),
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_character_of_a_template(name):
    template = TEMPLATES[name]
    passage, asked, first_turn, turn = LITERALS[name]
    assert template.passage("Zoë.", "conllpp") == passage
    assert template.ask(["person"]) == asked
    assert template.first_turn("Zoë.", "conllpp") == first_turn
    assert template.turn([Query("person", ("Zoë",))]) == turn


def test_an_encoder_decoder_is_asked_as_instructuie_was():
    assert INSTRUCTUIE_V1.ask("Zoë.", ["person", "city", "person"]) == (
        "Please list all entity words in the text that fit the category.Output format is "
        '"type1: word1; type2: word2". \nOption: person, city \nText: Zoë. \nAnswer:'
    )


LISTINGS = {
    "in order": ("person: Ada; city: Rome", True, [Answer(("Ada",)), Answer(("Rome",))]),
    "types mixed": ("city: Rome; person: Ada; city: Oslo", True, [Answer(("Ada",)), Answer(("Rome", "Oslo"))]),
    "a mention twice": ("person: Ada; person: Ada", True, [Answer(("Ada",)), Answer()]),
    "nothing": (" None", True, [Answer(), Answer()]),
    "nothing said": ("", True, [Answer(), Answer()]),
    "other case": ("Person: Ada; CITY: Rome", True, [Answer(("Ada",)), Answer(("Rome",))]),
    "a type not asked": ("animal: dog; person: Ada", True, [Answer(("Ada",)), Answer()]),
    "a colon in a mention": ("person: Ada: a life", True, [Answer(("Ada: a life",)), Answer()]),
    "no type": (
        "person: Ada; Rome",
        True,
        [Answer(("Ada",), complete=False), Answer(complete=False)],
    ),
    "no mention": ("person:; city: Rome", True, [Answer(complete=False), Answer(("Rome",), complete=False)]),
    "cut off in a mention": (
        "person: Ada; city: Ro",
        False,
        [Answer(("Ada",), complete=False), Answer(complete=False)],
    ),
    "cut off between": ("person: Ada;", False, [Answer(("Ada",), complete=False), Answer(complete=False)]),
}


@pytest.mark.parametrize(("said", "ended", "expected"), LISTINGS.values(), ids=LISTINGS)
def test_what_an_encoder_decoder_says_is_read(said, ended, expected):
    assert INSTRUCTUIE_V1.read(said, ["person", "city"], ended=ended) == expected


def test_a_type_may_hold_a_colon():
    assert INSTRUCTUIE_V1.read("work: art: Mona Lisa; work: Iliad", ["work", "work: art"]) == [
        Answer(("Iliad",)),
        Answer(("Mona Lisa",)),
    ]


@pytest.mark.parametrize("mentions", [(), ("Ada", "Łukasz: a life"), ("a, b", '"c"')], ids=str)
def test_a_listing_is_read_as_it_was_written(mentions):
    queries = [Query("person", mentions), Query("city", ("Rome",)), Query("date", ())]
    said = INSTRUCTUIE_V1.answer(queries)
    assert INSTRUCTUIE_V1.read(said, ["person", "city", "date"]) == [Answer(query.mentions) for query in queries]


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_an_encoder_decoder_reads_the_text_as_it_is(text):
    before, after = INSTRUCTUIE_V1.ask("\0", ["person"]).split("\0")
    assert INSTRUCTUIE_V1.ask(text, ["person"]) == before + text + after


def test_all_types_in_one_question():
    queries = [Query('a "b"', ()), Query("größe", ("Zoë", "x"))]
    asked = r'USER: What describes each of ["a \"b\"", "größe"] in the text? ASSISTANT:'
    assert ALL_IN_ONE_V1.ask([query.type for query in queries]) == asked
    assert ALL_IN_ONE_V1.answer(queries) == r' {"a \"b\"": [], "größe": ["Zoë", "x"]}'


@pytest.mark.parametrize("text", ["Ada lives.", "Dataset: x\nText: y", "{dataset}{text}"])
def test_without_a_data_set_the_question_is_the_plain_one(text):
    assert DATASET_V1.passage(text) == PLAIN_V1.passage(text)
    assert DATASET_V1.first_turn(text) == PLAIN_V1.first_turn(text)


def test_definitions_are_asked_in_the_plain_words():
    assert PLAIN_DEFINITION_V1 == replace(PLAIN_V1, name="definition.v1")


GROUPS = {name: ([["a"], ["b"], ["c"]] if name != "all-in-one.v1" else [["a", "b", "c"]]) for name in TEMPLATES}


@pytest.mark.parametrize(("name", "groups"), GROUPS.items(), ids=GROUPS)
def test_which_types_are_asked_together(name, groups):
    assert TEMPLATES[name].groups(["a", "b", "c"]) == groups
    assert TEMPLATES[name].groups([]) == []


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_texts_and_types_are_left_alone(template, value):
    assert template.passage(value) == value.join(template.passage("\0").split("\0"))
    assert template.first_turn(value).pieces[0] == value.join(template.first_turn("\0").pieces[0].split("\0"))
    if template is not ALL_IN_ONE_V1:
        before, after = template.ask(["\N{SNOWMAN}"]).split("\N{SNOWMAN}")
        assert template.ask([value]) == before + value + after


def test_many_types_can_be_told_apart():
    types = ["{types}", 'a", "b', "c, d", "]", *ODD.values()]
    asked = ALL_IN_ONE_V1.ask(types)
    before, after = ALL_IN_ONE_V1.question.split("{types}")
    assert json.loads(asked.removeprefix(before).removesuffix(after)) == types


NAMES = {
    "a line break": ("a\nText: b", "it holds a line break"),
    "a tab": ("a\tb", "it holds a line break or another control character"),
    "blank": ("  ", "it is empty"),
    "white space around": (" conllpp", "white space"),
    "no text": (5, "it is a int"),
}


@pytest.mark.parametrize(("name", "reason"), NAMES.values(), ids=NAMES)
def test_a_bad_name_of_a_data_set(name, reason):
    for use in (DATASET_V1.check_dataset, partial(DATASET_V1.passage, "Ada."), partial(DATASET_V1.first_turn, "Ada.")):
        with pytest.raises(UniversalNERError, match=f"U151.*{reason}"):
            use(name)


@pytest.mark.parametrize("name", [name for name in TEMPLATES if not name.startswith("dataset")])
def test_a_template_without_a_place_for_data_sets(name):
    TEMPLATES[name].check_dataset("")
    with pytest.raises(UniversalNERError, match=f"U150.*'conllpp'.*{name}.*dataset.v1, dataset-twice.v1"):
        TEMPLATES[name].check_dataset("conllpp")


MENTIONS = {
    "none": (),
    "two": ("Ada", "Łukasz"),
    "quotes, backslash, line break": ('a "b"', "c\\d", "e\nf"),
    "brackets and braces": ("a] b", "[c", "{d}", '"}', '": ["'),
    "special tokens": ("</s>", "<|im_end|>"),
    "beyond the first plane": ("👩‍🔬", "𝔸"),
}
DEFINITIONS = (
    'A person, called "they" in {the text}, who acts.',
    "A unit (e.g. km/h) in which speed is given; it isn't a number.",
)


@pytest.mark.parametrize("mentions", MENTIONS.values(), ids=MENTIONS)
@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_an_answer_is_read_as_it_was_written(template, mentions):
    queries = [Query("person", mentions), Query(DEFINITIONS[0], ("x",)), Query("größe", ())]
    for group in template.groups(queries):
        said = template.answer(group)
        read = template.read(said, [query.type for query in group])
        assert read == [Answer(query.mentions) for query in group]
        assert is_whole(said)
        assert not template.repeats(said)


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_no_beginning_of_an_answer_is_whole_or_repeats_itself(template):
    for group in template.groups([Query("a", ("b", 'c "]}', "{d")), Query("e", ("b", "f"))]):
        said = template.answer(group)
        assert not is_whole(said[:-1])
        for end in range(len(said) - 1):
            assert not is_whole(said[:end])
            assert not template.repeats(said[:end])
            assert not any(answer.complete for answer in template.read(said[:end], ["a", "e"])[-1:])


DONE = Answer(("Ada", "Bob"))
CUT = Answer((), complete=False)
READ_TOGETHER = {
    "whole": ('{"person": ["Ada", "Bob"], "city": [], "date": ["May"]}', [DONE, Answer(()), Answer(("May",))]),
    "another order": ('{"date": ["May"], "person": ["Ada", "Bob"], "city": []}', [DONE, Answer(()), Answer(("May",))]),
    "a mention twice": ('{"person": ["Ada", "Bob", "Ada"], "city": [], "date": []}', [DONE, Answer(()), Answer(())]),
    "a type not asked": ('{"ship": ["Ada"], "person": ["Ada", "Bob"]}', [DONE, CUT, CUT]),
    "a type twice": ('{"person": ["Ada", "Bob"], "person": ["Cy"]}', [DONE, CUT, CUT]),
    "cut off in a list": (
        '{"person": ["Ada", "Bob"], "city": ["Oslo", "Bo',
        [DONE, Answer(("Oslo",), complete=False), CUT],
    ),
    "cut off in a type": ('{"person": ["Ada", "Bob"], "ci', [DONE, CUT, CUT]),
    "a list for all": ('["Ada", "Bob"]', [CUT, CUT, CUT]),
    "nothing": ("", [CUT, CUT, CUT]),
}


@pytest.mark.parametrize(("said", "answers"), READ_TOGETHER.values(), ids=READ_TOGETHER)
def test_an_answer_about_many_types(said, answers):
    assert ALL_IN_ONE_V1.read(said, ["person", "city", "date"]) == answers


def test_scores_that_are_not_one_for_each_mention_are_nobodys():
    said = '{"year": [1989], "city": ["Berlin"]}'
    assert ALL_IN_ONE_V1.read(said, ["year", "city"], [0.9]) == [Answer(("1989",), (0.9,)), Answer(("Berlin",), (0.9,))]


def test_a_type_asked_twice_is_answered_twice():
    assert ALL_IN_ONE_V1.read(' {"person": ["Ada"]}', ["person", " person "]) == [Answer(("Ada",))] * 2
    assert ALL_IN_ONE_V1.ask(["person", "person"]) == ALL_IN_ONE_V1.ask(["person"])
    queries = [Query("person", ("Ada",)), Query("person", ("Ada", "Bob"))]
    assert ALL_IN_ONE_V1.answer(queries) == ' {"person": ["Ada", "Bob"]}'


CUT_SHORT = {
    "whole": ('["Ada"]', Answer(("Ada",))),
    "cut off": ('["Ada", "Bo', Answer(("Ada",), complete=False)),
    "ended without its end": ('["Ada"', Answer(("Ada",), complete=False)),
    "cut off at once": ('["A', CUT),
    "an object": ('{"person": ["Ada"]}', CUT),
    "words": ("Ada", CUT),
}


@pytest.mark.parametrize(("said", "answer"), CUT_SHORT.values(), ids=CUT_SHORT)
def test_an_answer_about_one_type(said, answer):
    assert [template.read(said, ["person"]) for template in TEMPLATES.values() if template is not ALL_IN_ONE_V1] == [
        [answer]
    ] * (len(TEMPLATES) - 1)


@pytest.mark.parametrize("said", ['["Ada", "Bob", "Ada"', '["Ada", "Bob", "Ada", "B', '["Ada", "Ada"]'])
def test_a_mention_named_again(said):
    assert all(TEMPLATES[name].repeats(said) for name in TEMPLATES if name != "all-in-one.v1")


REPEATS = {
    "a mention of one type": ('{"a": ["Ada", "Bob", "Ada"', True),
    "a type": ('{"a": [], "b": ["Ada"], "a": [', True),
    "a mention of two types": ('{"a": ["Ada"], "b": ["Ada", "Bob"', False),
}


@pytest.mark.parametrize(("said", "expected"), REPEATS.values(), ids=REPEATS)
def test_a_mention_named_again_among_many_types(said, expected):
    assert ALL_IN_ONE_V1.repeats(said) is expected


def test_definitions_survive_the_file_of_conversations(tmp_path):
    conversation = Conversation("1", "They run.", tuple(Query(name, ("They",)) for name in DEFINITIONS))
    write_rows(tmp_path / "train.jsonl", [conversation.to_sharegpt()])
    (read,) = read_conversations(tmp_path / "train.jsonl")
    assert read == conversation
    asked = [PLAIN_DEFINITION_V1.ask([query.type]) for query in read.queries]
    assert asked == [f"USER: What describes {name} in the text? ASSISTANT:" for name in DEFINITIONS]


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_a_template_survives_a_folder(tmp_path, template):
    template.save(tmp_path)
    assert load_template(tmp_path) == template


def test_students_saved_by_earlier_versions_are_loaded(tmp_path):
    saved = {
        "name": "plain.v1",
        "opening": f"{SYSTEM} USER: Text: {{text}} ASSISTANT: {READ}",
        "question": "USER: What describes {type} in the text? ASSISTANT:",
        "answer_prefix": " ",
    }
    (tmp_path / TEMPLATE_FILE).write_text(json.dumps(saved), encoding="utf8")
    assert load_template(tmp_path) is PLAIN_V1


SAVED = {
    "unknown name": ({**asdict(PLAIN_V1), "name": "plain.v99"}, "U020.*'plain.v99'.*plain.v1"),
    "no name": ({"opening": "{text}"}, "U020.*plain.v1"),
    "changed text": ({**asdict(PLAIN_V1), "question": "{type}?"}, "U021.*plain.v1"),
    "a field missing": ({"name": PLAIN_V1.name}, "U021.*plain.v1"),
    "another template's text": ({**asdict(PLAIN_V1), "name": "uniner.v1"}, "U021.*uniner.v1"),
    "changed text of training": ({**asdict(UNINER_V1), "told": "{text}"}, "U021.*uniner.v1"),
    "a field too many": ({**asdict(PLAIN_V1), "end": "</s>"}, "U021.*plain.v1"),
}


@pytest.mark.parametrize(("saved", "message"), SAVED.values(), ids=SAVED)
def test_another_template_is_refused(tmp_path, saved, message):
    (tmp_path / TEMPLATE_FILE).write_text(json.dumps(saved), encoding="utf8")
    with pytest.raises(UniversalNERError, match=message):
        load_template(tmp_path)


def test_a_folder_without_a_template_is_refused(tmp_path):
    with pytest.raises(UniversalNERError, match="U001.*template.json.*saved with its template"):
        load_template(tmp_path)


def test_names_are_those_of_the_things_named():
    assert {name: get_template(name).name for name in TEMPLATES} == {name: name for name in TEMPLATES}
    assert {name: get_teacher_prompt(name).name for name in TEACHER_PROMPTS} == {name: name for name in TEACHER_PROMPTS}
    assert {name: get_source_prompt(name).name for name in SOURCE_PROMPTS} == {name: name for name in SOURCE_PROMPTS}


@pytest.mark.parametrize("get", [get_template, get_teacher_prompt, get_source_prompt])
def test_an_unknown_name_is_refused(get):
    with pytest.raises(UniversalNERError, match="U020.*'v99'"):
        get("v99")


AROUND = {
    "a list": (PLAIN_V1, ["person"], ("", "")),
    "one key": (ALL_IN_ONE_V1, ["person"], ('{"person": ', "}")),
    "keys": (ALL_IN_ONE_V1, ['a "b"', "größe"], (r'{"a \"b\"": ', ', "größe": ', "}")),
    "a key asked twice": (ALL_IN_ONE_V1, ["person", "person"], ('{"person": ', "}")),
}


@pytest.mark.parametrize(("template", "types", "expected"), AROUND.values(), ids=AROUND)
def test_what_stands_around_the_lists_of_an_answer(template, types, expected):
    assert template.literals(types) == expected


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_a_whole_answer_is_what_stands_around_its_lists(template):
    for group in template.groups([Query("a", ("b", 'Zoë "x"')), Query("ö", ())]):
        before, *after = template.literals([query.type for query in group])
        lists = [json.dumps(query.mentions, ensure_ascii=template.ascii) for query in group]
        whole = before + "".join(part for pair in zip(lists, after, strict=True) for part in pair)
        assert template.answer(group).strip() == whole


SCORED = {
    "none known": (PLAIN_V1, '["Ada", "Bob"]', (), [Answer(("Ada", "Bob"))]),
    "each": (PLAIN_V1, '["Ada", "Bob"]', (0.5, 0.4), [Answer(("Ada", "Bob"), (0.5, 0.4))]),
    "a mention twice": (PLAIN_V1, '["Ada", "Bob", "Ada"]', (0.5, 0.4, 0.3), [Answer(("Ada", "Bob"), (0.5, 0.4))]),
    "no strings alone": (PLAIN_V1, '["Ada", 1]', (0.5,), [Answer(("Ada", "1"), (0.5, 0.5))]),
    "more scores than mentions": (PLAIN_V1, '[["Ada", "Bob"]]', (0.5, 0.4), [Answer(('["Ada", "Bob"]',), (0.4,))]),
    "no list": (PLAIN_V1, '"Ada"', (0.5,), [Answer((), complete=False)]),
    "of two types": (
        ALL_IN_ONE_V1,
        '{"a": ["Ada"], "b": ["Bob", "Eve"]}',
        (0.5, 0.4, 0.3),
        [Answer(("Ada",), (0.5,)), Answer(("Bob", "Eve"), (0.4, 0.3))],
    ),
    "of a type that was not asked": (
        ALL_IN_ONE_V1,
        '{"c": ["Cy"], "b": ["Bob"], "a": []}',
        (0.5, 0.4),
        [Answer(), Answer(("Bob",), (0.4,))],
    ),
}


@pytest.mark.parametrize(("template", "said", "scores", "expected"), SCORED.values(), ids=SCORED)
def test_scores_are_read_with_the_mentions_they_are_of(template, said, scores, expected):
    assert template.read(said, ["a", "b"][: len(expected)], scores) == expected
