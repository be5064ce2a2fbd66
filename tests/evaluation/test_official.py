"""What the released scorer does with answers, quirk by quirk."""

import json

import pytest

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.evaluation.official import read_answer, score_strings, take_answer

ANSWERS = {
    "none": ("[]", []),
    "one": ('["Ada"]', ["ada"]),
    "some, in order": ('["Bee", "Ada"]', ["bee", "ada"]),
    "white space inside": ('[ "Ada" ,"Bee" ]', ["ada", "bee"]),
    "twice": ('["Ada", "Ada"]', ["ada"]),
    "twice once normalised": ('["The U.S.", "us", "US!"]', ["us"]),
    # form
    "nothing": ("", []),
    "words": ("Ada", []),
    "text before the list": ('Sure: ["Ada"]', []),
    "a space before the list": (' ["Ada"]', []),
    "text after the list": ('["Ada"] and so on', ["ada"]),
    "a second list": ('["Ada"]["Bee"]', ["ada"]),
    "an empty list first": ('[]["Ada"]', []),
    "single quotes": ("['Ada']", []),
    "no quotes": ("[Ada]", []),
    "a list that does not end": ('["Ada", "Bee"', []),
    "a mention that does not end": ('["Ada", "Be]', []),
    "a comma too many": ('["Ada",]', []),
    "a line end between mentions": ('["Ada",\n"Bee"]', []),
    "a line end after the list": ('["Ada"]\n["Bee"]', ["ada"]),
    "an object": ('{"person": ["Ada"]}', []),
    # what is in the list
    "] in a mention": ('["Ada [1]", "Bee"]', []),
    "] in the last mention": ('["Ada", "Bee]"]', []),
    "[ in a mention": ('["Ada [1", "Bee"]', ["ada 1", "bee"]),
    "a number": ('["Ada", 3]', []),
    "a number in quotes": ('["3", "3.5"]', ["3", "35"]),
    "true": ("[true]", []),
    "null": ('["Ada", null]', []),
    "not a number": ("[NaN]", []),
    "a list in the list": ('[["Ada", "person"]]', []),
    "an object in the list": ('[{"a": "Ada"}]', []),
    "many lists in the list": ("[" * 100_000, []),
    # escapes
    "an escaped quote": (r'["the \"Ada\""]', ["ada"]),
    "an escaped letter": (r'["Zo\u00eb"]', ["zoë"]),
    "an escaped line end": (r'["Ada\nLovelace"]', ["ada lovelace"]),
    "an escaped ]": (r'["Ada\u005d", "Bee"]', ["ada", "bee"]),
    "an escape that is none": (r'["\d"]', []),
    "half a surrogate pair": (r'["\ud83d"]', ["\ud83d"]),
    "a tab": ('["Ada\tLovelace"]', []),
    # normalising
    "case": ('["ADA"]', ["ada"]),
    "punctuation goes without a space": ('["state-of-the-art"]', ["stateoftheart"]),
    "punctuation that is not ASCII stays": ('["Bee – “Zoë”"]', ["bee – “zoë”"]),
    "articles are words": ('["The anthem of an area, a theme"]', ["anthem of area theme"]),
    "articles that punctuation held apart stay": ('["A-Team"]', ["ateam"]),
    "spaces": ('["  New   York "]', ["new york"]),
    "an article alone is a mention of nothing": ('["the"]', [""]),
    "so is punctuation, once": ('["!", "?", ""]', [""]),
}


@pytest.mark.parametrize(("answer", "mentions"), ANSWERS.values(), ids=ANSWERS)
def test_what_counts_of_an_answer(answer, mentions):
    assert read_answer(answer) == mentions


RESPONSES = {
    "white space around it": (' ["Ada"]\n', '["Ada"]'),
    "turns before it": ('USER: Ada ASSISTANT: yes USER: person? ASSISTANT: ["Ada"]', '["Ada"]'),
    "a mention of the turn": ('["ASSISTANT: Ada"]', 'Ada"]'),
}


@pytest.mark.parametrize(("response", "answer"), RESPONSES.values(), ids=RESPONSES)
def test_what_is_scored_of_a_response(response, answer):
    assert take_answer(response) == answer


SCORES = {
    # answers and golds; correct, predicted, gold
    "all right": ([["Ada"]], [["ada"]], (1, 1, 1)),
    "nothing said": ([[]], [["Ada"]], (0, 0, 1)),
    "nothing to find": ([["Ada"]], [[]], (0, 1, 0)),
    "nothing at all": ([[], []], [[], []], (0, 0, 0)),
    "a mention counts once on both sides": ([["Ada", "Ada", "Bee"]], [["Ada", "ada"]], (1, 2, 1)),
    "sums over questions": ([["Ada"], ["Bee", "Eve"]], [["Ada"], ["Bee", "Zoe", "Kim"]], (2, 3, 4)),
    "another question's mention is none": ([["Bee"], ["Ada"]], [["Ada"], ["Bee"]], (0, 2, 2)),
    "gold with a ] is read no better": ([["Ada"]], [["Ada", "B]"]], (0, 1, 0)),
}


@pytest.mark.parametrize(("answers", "golds", "counts"), SCORES.values(), ids=SCORES)
def test_scores_of_answers(answers, golds, counts):
    scores = score_strings(list(map(json.dumps, answers)), list(map(json.dumps, golds)))
    correct, predicted, gold = counts
    precision, recall = correct / (predicted + 1e-10), correct / (gold + 1e-10)
    f1 = 2 * precision * recall / (precision + recall + 1e-10)
    assert scores == {"precision": precision, "recall": recall, "f1": f1}


def test_a_score_is_never_quite_one():
    assert 1 - 1e-9 < score_strings(['["Ada"]'], ['["Ada"]'])["f1"] < 1


def test_each_question_has_one_answer():
    with pytest.raises(UniversalNERError, match="U235.*2 answers for 1 questions"):
        score_strings(["[]", "[]"], ["[]"])
