import json

import pytest

from spacy_universalner.corpus.filtering import REASONS, FilterReport, filter_reply
from spacy_universalner.records import Mention, Record, Reply, read_json, write_json

TEXT = "Zoë Ng, 42, met 东京 staff of C++ Ltd in Paris on 3 May. Parisian 🍕!"
ELSE_TYPES = ["none", "misc", "N/A"]


def reply_of(*pairs, raw=None, text=TEXT, passage_id="p1"):
    return Reply(passage_id, text, json.dumps(pairs) if raw is None else raw, "model", "sha")


def filtered(*pairs, **kwargs):
    return filter_reply(reply_of(*pairs, **kwargs), else_types=ELSE_TYPES)


KEPT = {
    "plain": (("Paris", "city"), ("Paris", "city")),
    "accents": (("Zoë Ng", "person"), ("Zoë Ng", "person")),
    "a number": (("42", "age"), ("42", "age")),
    "an emoji": (("🍕", "emoji"), ("🍕", "emoji")),
    "punctuation": (("C++ Ltd", "company"), ("C++ Ltd", "company")),
    "latin letters beside others": (("东京 staff", "group"), ("东京 staff", "group")),
    "white space around": ((" Paris ", " city "), ("Paris", "city")),
    "white space in a type": (("Paris", "capital\n  city"), ("Paris", "capital city")),
    "case of a type": (("Paris", "City"), ("Paris", "City")),
    "a type that holds an else type": (("Paris", "misc place"), ("Paris", "misc place")),
}


@pytest.mark.parametrize(("pair", "expected"), KEPT.values(), ids=KEPT)
def test_a_good_pair_is_kept(pair, expected):
    assert filtered(pair) == (Record("p1", TEXT, (Mention(*expected),)), [])


DROPPED = {
    "no entity": (("", "city"), "empty"),
    "no type": (("Paris", "  "), "empty"),
    "else type": (("Paris", "misc"), "else type"),
    "else type in another case": (("Paris", "n/A"), "else type"),
    "else type with white space": (("Paris", " None "), "else type"),
    "entity in another script": (("东京", "city"), "not english letters"),
    "type in another script": (("Paris", "城市"), "not english letters"),
    "not in the text": (("London", "city"), "not in text"),
    "in another case": (("PARIS", "city"), "not in text"),
    "within a word only": (("Par", "city"), "not in text"),
}


@pytest.mark.parametrize(("pair", "reason"), DROPPED.values(), ids=DROPPED)
def test_a_bad_pair_is_dropped_with_its_reason(pair, reason):
    record, rejections = filtered(pair, ("Zoë Ng", "person"))
    assert record.mentions == (Mention("Zoë Ng", "person"),)
    entity, type_ = (part.strip() for part in pair)
    assert [(r.passage_id, r.reason, r.entity, r.type) for r in rejections] == [("p1", reason, entity, type_)]


def test_a_pair_given_twice_is_kept_once():
    record, rejections = filtered(("Paris", "city"), ("Paris", "city "), ("Paris", "place"))
    assert record.mentions == (Mention("Paris", "city"), Mention("Paris", "place"))
    assert [(r.reason, r.entity, r.type) for r in rejections] == [("duplicate", "Paris", "city")]


def test_a_bad_pair_given_twice_is_counted_twice():
    assert [r.reason for r in filtered(("London", "city"), ("London", "city"))[1]] == ["not in text"] * 2


@pytest.mark.parametrize(
    "raw", ["", "I cannot help with that.", '["Paris", "Zoë"]'], ids=["empty", "refusal", "strings"]
)
def test_a_reply_that_is_no_list_of_pairs_makes_no_record(raw):
    record, rejections = filtered(raw=raw)
    assert record is None
    assert [(r.passage_id, r.reason, r.entity, r.type) for r in rejections] == [("p1", "unparseable", raw, "")]


def test_a_long_unparseable_reply_is_shown_cut():
    assert len(filtered(raw="no " * 1000)[1][0].entity) == 200


def test_an_empty_list_is_a_record_without_mentions():
    assert filtered(raw="[]") == (Record("p1", TEXT, ()), [])


def test_only_the_given_else_types_are_dropped():
    assert filter_reply(reply_of(("Paris", "misc")), else_types=[])[0].mentions == (Mention("Paris", "misc"),)


REPLIES = (
    reply_of(("Paris", "city"), ("Zoë Ng", "person"), ("London", "city"), ("42", "none"), passage_id="p1"),
    reply_of(("Paris", "city"), ("Paris", "city"), ("", "city"), ("东京", "city"), passage_id="p2"),
    reply_of(raw="Sorry.", passage_id="p3"),
    reply_of(raw="[]", passage_id="p4"),
)


def report_of(replies, **kwargs):
    report = FilterReport()
    for reply in replies:
        report.add(*filter_reply(reply, else_types=ELSE_TYPES), **kwargs)
    return report


def test_everything_is_counted():
    counts = report_of(REPLIES).to_json()
    examples = counts.pop("examples")
    assert counts == {
        "replies": 4,
        "records": 3,
        "mentions": 3,
        "types": 2,
        "rejected": dict.fromkeys(REASONS, 1),
        "type_counts": {"city": 2, "person": 1},
    }
    assert set(examples) == set(REASONS)
    assert examples["not in text"] == [{"passage_id": "p1", "entity": "London", "type": "city"}]


def test_pairs_kept_and_dropped_add_up():
    replies = [reply for reply in REPLIES if reply.raw != "Sorry."]
    report = report_of(replies)
    assert report.mentions + sum(report.rejected.values()) == sum(len(json.loads(reply.raw)) for reply in replies)


def test_a_report_names_reasons_that_did_not_occur():
    assert report_of([]).to_json()["rejected"] == dict.fromkeys(REASONS, 0)


def test_examples_are_few_and_counts_are_whole():
    report = report_of([reply_of(("London", "city"), passage_id=str(i)) for i in range(9)], max_examples=2)
    assert report.rejected["not in text"] == 9
    assert [example["passage_id"] for example in report.examples["not in text"]] == ["0", "1"]


def test_types_are_listed_by_frequency(tmp_path):
    pairs = [("Paris", "city"), ("Zoë Ng", "person"), ("Paris", "place"), ("C++ Ltd", "place")]
    path = tmp_path / "filter_report.json"
    write_json(path, report_of([reply_of(*pairs)]).to_json())
    assert list(read_json(path)["type_counts"].items()) == [("place", 2), ("city", 1), ("person", 1)]
