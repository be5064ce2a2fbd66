import json
from dataclasses import asdict, replace

import pytest

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.prompts import (
    PLAIN_V1,
    TEACHER_PROMPTS,
    TEMPLATE_FILE,
    TEMPLATES,
    TYPE_V1,
    get_teacher_prompt,
    get_template,
    load_template,
    messages_key,
    prompt_variant,
)

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


def test_the_student_is_asked_as_the_authors_code_asks():
    opening = "A virtual assistant answers questions from a user based on the provided text. USER: Text: "
    assert PLAIN_V1.passage("Ada lives.") == opening + "Ada lives. ASSISTANT: I've read this text."
    assert PLAIN_V1.ask("person") == "USER: What describes person in the text? ASSISTANT:"


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
def test_texts_and_types_are_left_alone(value):
    before, after = PLAIN_V1.opening.split("{text}")
    assert PLAIN_V1.passage(value) == before + value + after
    before, after = PLAIN_V1.question.split("{type}")
    assert PLAIN_V1.ask(value) == before + value + after


ANSWERS = {
    "none": ((), " []"),
    "two": (("Ada", "Łukasz"), ' ["Ada", "Łukasz"]'),
    "quotes, backslash, line break": (('a "b"', "c\\d", "e\nf"), r' ["a \"b\"", "c\\d", "e\nf"]'),
}


@pytest.mark.parametrize(("mentions", "expected"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_is_a_json_list(mentions, expected):
    assert PLAIN_V1.answer(mentions) == expected
    assert tuple(json.loads(expected)) == mentions


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_a_template_survives_a_folder(tmp_path, template):
    template.save(tmp_path)
    assert load_template(tmp_path) == template


SAVED = {
    "unknown name": ({**asdict(PLAIN_V1), "name": "plain.v99"}, "U020.*'plain.v99'.*plain.v1"),
    "no name": ({"opening": "{text}"}, "U020.*plain.v1"),
    "changed text": ({**asdict(PLAIN_V1), "question": "{type}?"}, "U021.*plain.v1"),
    "a field missing": ({"name": PLAIN_V1.name}, "U021.*plain.v1"),
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


@pytest.mark.parametrize("get", [get_template, get_teacher_prompt])
def test_an_unknown_name_is_refused(get):
    with pytest.raises(UniversalNERError, match="U020.*'v99'"):
        get("v99")
