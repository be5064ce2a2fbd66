import importlib.util
import json
import random
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_universalner.corpus.filtering import (
    ALWAYS,
    PAIR_REASONS,
    REASONS,
    RULES,
    FilterReport,
    count_domains,
    filter_reply,
)
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.prompts import TYPE_V1
from spacy_universalner.records import (
    Mention,
    Record,
    Reply,
    read_json,
    read_rows,
    write_json,
    write_records,
    write_rows,
)
from spacy_universalner.schemas import FilterSettings

from ..conftest import ROOT

TEXT = "Zoë Ng, 42, met 东京 staff of C++ Ltd in Paris on 3 May. Parisian 🍕!"
SETTINGS = {
    "variant": "type",
    "rules": RULES,
    "else_types": ["none", "misc", "N/A"],
    "max_type_words": 4,
    "max_entity_words": 6,
    "normalize_space": True,
    "normalize_case": False,
}


def reply_of(*pairs, raw=None, text=TEXT, passage_id="p1", **kwargs):
    return Reply(passage_id, text, json.dumps(pairs) if raw is None else raw, "model", TYPE_V1.sha, **kwargs)


def filtered(*pairs, raw=None, text=TEXT, finish_reason="stop", **changes):
    reply = reply_of(*pairs, raw=raw, text=text, finish_reason=finish_reason)
    return filter_reply(reply, **{**SETTINGS, **changes})


def without(*rules):
    return [rule for rule in RULES if rule not in rules]


def reasons(outcome):
    return [rejection.reason for rejection in outcome[1]]


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
    "a type of two words with a full stop": (("Paris", "admin. div."), ("Paris", "admin. div.")),
    "a type of as many words as may be": (("Paris", "large old capital city"), ("Paris", "large old capital city")),
    "an entity of as many words as may be": (("met 东京 staff of C++ Ltd", "x"), ("met 东京 staff of C++ Ltd", "x")),
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
    "type of too many words": (("Paris", "a city that is a capital"), "sentence type"),
    "type that ends as a sentence": (("Paris", "A capital city."), "sentence type"),
    "entity of too many words": (("met 东京 staff of C++ Ltd in", "clause"), "long entity"),
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


OPTIONAL = {
    "else type": ("Paris", "misc"),
    "not english letters": ("东京", "city"),
    "sentence type": ("Paris", "A capital city."),
    "long entity": ("met 东京 staff of C++ Ltd in", "clause"),
    "not in text": ("London", "city"),
}


@pytest.mark.parametrize(("rule", "pair"), OPTIONAL.items(), ids=OPTIONAL)
def test_a_rule_that_is_left_out_drops_nothing(rule, pair):
    text = TEXT.replace("东京", "东京 ") if rule == "not english letters" else TEXT
    assert filtered(pair, text=text, rules=without(rule)) == (Record("p1", text, (Mention(*pair),)), [])


def test_definitions_may_be_sentences():
    pair = ("Paris", "A city that is the capital of a country.")
    assert filtered(pair, variant="definition")[0].mentions == (Mention(*pair),)
    assert reasons(filtered(pair, variant="type")) == ["sentence type", "nothing left"]


TYPES = {
    "white space kept": (dict(normalize_space=False), " Capital\n  City ", "Capital\n  City"),
    "white space squeezed": (dict(normalize_space=True), " Capital\n  City ", "Capital City"),
    "case folded": (dict(normalize_case=True), "Capital City", "capital city"),
    "both": (dict(normalize_case=True), " Capital  City", "capital city"),
}


@pytest.mark.parametrize(("changes", "said", "kept"), TYPES.values(), ids=TYPES)
def test_types_are_changed_by_explicit_choice(changes, said, kept):
    assert filtered(("Paris", said), **changes)[0].mentions == (Mention("Paris", kept),)


def test_types_that_normalization_makes_the_same_are_one():
    record, rejections = filtered(("Paris", "City"), ("Paris", "city"), normalize_case=True, text="Paris, Paris")
    assert record.mentions == (Mention("Paris", "city"),)
    assert [rejection.reason for rejection in rejections] == ["duplicate"]


REPEATS = {
    "as often as it stands there": ("Paris, Paris", 2, ["duplicate"]),
    "more often": ("Paris, Paris", 4, ["duplicate", "over count", "over count"]),
    "within a longer word it does not stand": ("Paris, Parisian", 2, ["over count"]),
}


@pytest.mark.parametrize(("text", "times", "expected"), REPEATS.values(), ids=REPEATS)
def test_a_pair_listed_again_is_kept_once(text, times, expected):
    outcome = filtered(*[("Paris", "city")] * times, ("Paris", "place"), text=text)
    assert outcome[0].mentions == (Mention("Paris", "city"), Mention("Paris", "place"))
    assert reasons(outcome) == expected


def test_a_repeated_pair_that_may_stand_nowhere_is_a_duplicate():
    assert reasons(filtered(*[("London", "city")] * 3, rules=without("not in text"))) == ["duplicate"] * 2


def test_a_bad_pair_given_twice_is_counted_twice():
    outcome = filtered(("London", "city"), ("London", "city"), ("Paris", "city"))
    assert reasons(outcome) == ["not in text"] * 2


PAIRS = '[("Paris", "city")]'
REPLIES_DROPPED = {
    "content filter": (dict(raw=PAIRS, finish_reason="content_filter"), "refused"),
    "refusal without words": (dict(raw="", finish_reason="refusal"), "refused"),
    "no words": (dict(raw=" \n"), "no reply"),
    "cut off": (dict(raw=PAIRS[:-1], finish_reason="length"), "cut off"),
    "cut off before a word": (dict(raw="", finish_reason="length"), "cut off"),
    "an apology": (dict(raw="I cannot help with that."), "unparseable"),
    "strings": (dict(raw='["Paris", "Zoë"]'), "unparseable"),
}


@pytest.mark.parametrize(("reply", "reason"), REPLIES_DROPPED.values(), ids=REPLIES_DROPPED)
def test_a_bad_reply_is_dropped_whole(reply, reason):
    record, rejections = filtered(**reply)
    assert record is None
    assert [(r.passage_id, r.reason, r.entity, r.type) for r in rejections] == [("p1", reason, "", "")]


REPLIES_KEPT = {
    "content filter": (dict(raw=PAIRS, finish_reason="content_filter"), "refused"),
    "cut off": (dict(raw=PAIRS[:-1], finish_reason="length"), "cut off"),
}


@pytest.mark.parametrize(("reply", "rule"), REPLIES_KEPT.values(), ids=REPLIES_KEPT)
def test_a_reply_rule_that_is_left_out_drops_nothing(reply, rule):
    assert filtered(**reply, rules=without(rule)) == (Record("p1", TEXT, (Mention("Paris", "city"),)), [])


def test_a_reply_of_which_nothing_is_left_is_dropped():
    record, rejections = filtered(("London", "city"), ("42", "none"))
    assert record is None
    assert [rejection.reason for rejection in rejections] == ["not in text", "else type", "nothing left"]
    assert rejections[-1].entity == ""


def test_a_reply_of_which_nothing_is_left_may_be_kept():
    outcome = filtered(("London", "city"), rules=without("nothing left"))
    assert outcome[0] == Record("p1", TEXT, ())
    assert reasons(outcome) == ["not in text"]


def test_an_empty_list_is_a_record_without_mentions():
    assert filtered(raw="[]") == (Record("p1", TEXT, ()), [])


def test_only_the_given_else_types_are_dropped():
    assert filtered(("Paris", "misc"), else_types=[])[0].mentions == (Mention("Paris", "misc"),)


@pytest.mark.parametrize("rule", ["not in txt", *ALWAYS])
def test_a_rule_that_cannot_be_chosen_is_an_error(rule):
    with pytest.raises(UniversalNERError, match=f"U110.*{rule}.*expected any of: refused, "):
        filtered(("Paris", "city"), rules=[*RULES, rule])


def test_the_config_knows_the_rules():
    (names,) = get_args(FilterSettings.model_fields["rules"].annotation)
    assert get_args(names) == RULES


REPLIES = (
    reply_of(("Paris", "city"), ("Zoë Ng", "person"), ("London", "city"), ("42", "none"), passage_id="p1"),
    reply_of(("Paris", "city"), ("Paris", "city"), ("", "city"), ("东京", "city"), passage_id="p2"),
    reply_of(raw="Sorry.", passage_id="p3"),
    reply_of(raw="[]", passage_id="p4"),
    reply_of(raw="", passage_id="p5"),
    reply_of(raw='[("Paris", "ci', passage_id="p6", finish_reason="length"),
    reply_of(raw="", passage_id="p7", finish_reason="content_filter"),
    reply_of(("Paris", "the capital city of France"), passage_id="p8"),
    reply_of(*[("Paris", "city")] * 2, ("met 东京 staff of C++ Ltd in", "x"), passage_id="p9", text=f"{TEXT} Paris"),
)


def report_of(replies, **kwargs):
    report = FilterReport(**kwargs)
    for reply in replies:
        report.add(reply, *filter_reply(reply, **SETTINGS))
    return report


def test_everything_is_counted():
    counts = report_of(REPLIES).to_json()
    examples = counts.pop("examples")
    assert counts == {
        "replies": 9,
        "records": 4,
        "pairs": 12,
        "mentions": 4,
        "types": 2,
        "rejected": dict.fromkeys(REASONS, 1),
        "domains": {},
        "passage_tokens": {22: 8, 23: 1},
        "entities_per_passage": {0: 1, 1: 2, 2: 1},
        "type_counts": {"city": 3, "person": 1},
    }
    assert list(examples) == list(REASONS)


def test_pairs_kept_and_dropped_add_up():
    report = report_of(REPLIES)
    dropped = sum(count for reason, count in report.rejected.items() if reason in PAIR_REASONS)
    assert report.mentions + dropped == report.pairs


def test_a_report_names_reasons_that_did_not_occur():
    assert report_of([]).to_json()["rejected"] == dict.fromkeys(REASONS, 0)


LONG = " ".join(["word"] * 100)
EXAMPLES = {
    "the passage around the entity": (
        reply_of(("paris", "city"), text=f"{LONG} Paris {LONG}"),
        "not in text",
        " Paris word",
    ),
    "the passage's beginning": (reply_of(("London", "city"), text=f"Paris {LONG}"), "not in text", "Paris word"),
    "the reply's beginning": (reply_of(raw=f"Sorry, {LONG}"), "unparseable", "Sorry, word"),
    "the passage of an empty reply": (reply_of(raw=" ", text=f"Paris {LONG}"), "no reply", "Paris word"),
    "the end of a cut-off reply": (reply_of(raw=f"{LONG} the end", finish_reason="length"), "cut off", "word the end"),
}


@pytest.mark.parametrize(("reply", "reason", "part"), EXAMPLES.values(), ids=EXAMPLES)
def test_an_example_shows_a_piece_of_the_passage_or_reply(reply, reason, part):
    (example,) = report_of([reply]).examples[reason]
    assert part in example.snippet
    assert "…" in example.snippet and len(example.snippet) <= 162


def test_an_example_names_its_passage_entity_and_type():
    assert report_of([reply_of(("London", "city"))]).to_json()["examples"]["not in text"] == [
        {"passage_id": "p1", "entity": "London", "type": "city", "snippet": TEXT}
    ]


def test_examples_are_the_first_by_passage_and_counts_are_whole():
    order = random.Random(0).sample(range(9), 9)
    report = report_of([reply_of(("London", "city"), passage_id=str(i)) for i in order], max_examples=2)
    assert report.rejected["not in text"] == 9
    assert [example.passage_id for example in report.examples["not in text"]] == ["0", "1"]


def test_a_report_without_examples():
    assert report_of(REPLIES, max_examples=0).to_json()["examples"] == {}


def test_types_are_listed_by_frequency(tmp_path):
    pairs = [("Zoë Ng", "person"), ("Paris", "city"), ("Paris", "place"), ("C++ Ltd", "place")]
    path = tmp_path / "filter_report.json"
    write_json(path, report_of([reply_of(*pairs)]).to_json())
    assert list(read_json(path)["type_counts"].items()) == [("place", 2), ("city", 1), ("person", 1)]


@given(st.lists(st.tuples(st.sampled_from(REPLIES), st.integers(0, 20), st.integers(0, 3))), st.randoms())
def test_reports_of_parts_merge_to_the_report_of_all(drawn, rng):
    """Whatever parts the replies fall into, and whatever order the parts come in."""
    replies = [
        (reply_of(raw=r.raw, text=r.text, passage_id=f"p{id_}", finish_reason=r.finish_reason)) for r, id_, _ in drawn
    ]
    whole = report_of(replies, max_examples=3)
    parts = [
        report_of([reply for reply, (*_, part) in zip(replies, drawn, strict=True) if part == number], max_examples=3)
        for number in range(4)
    ]
    rng.shuffle(parts)
    merged = FilterReport(max_examples=3)
    for part in parts:
        merged.merge(part)
    assert json.dumps(merged.to_json()) == json.dumps(whole.to_json())


def test_domains_are_counted_and_merged(tmp_path):
    path = tmp_path / "passages.jsonl"
    write_rows(
        path, [{"id": "1", "domain": "law"}, {"id": "2", "domain": ""}, {"id": "3"}, {"id": "4", "domain": "law"}]
    )
    assert count_domains(path) == {"law": 2, "not given": 2}
    report = FilterReport(domains=count_domains(path))
    report.merge(FilterReport(domains=count_domains(path)))
    assert report.to_json()["domains"] == {"law": 4, "not given": 4}


@pytest.fixture
def script(tmp_path, monkeypatch):
    """The script's function, in an empty project."""
    spec = importlib.util.spec_from_file_location("script", ROOT / "scripts" / "filter.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "distil.cfg").write_text((ROOT / "configs" / "distil.cfg").read_text(encoding="utf8"))
    monkeypatch.chdir(tmp_path)

    def run(*replies):
        write_records(tmp_path / "corpus" / "replies.jsonl", replies)
        write_rows(tmp_path / "corpus" / "passages.jsonl", [{"id": r.passage_id, "domain": "law"} for r in replies])
        module.main()

    return run


def test_the_script_writes_records_report_and_page(script, tmp_path):
    script(*REPLIES)
    assert [row["passage_id"] for _, row in read_rows(tmp_path / "corpus" / "records.jsonl")] == [
        "p1",
        "p2",
        "p4",
        "p8",
        "p9",
    ]
    report = read_json(tmp_path / "corpus" / "filter_report.json")
    assert report["domains"] == {"law": 9} and tuple(report["settings"]["rules"]) == RULES
    assert "not in text: 1 of 1" in (tmp_path / "reports" / "corpus.html").read_text(encoding="utf8")


def test_where_nothing_is_kept_the_page_still_shows_why(script, tmp_path):
    with pytest.raises(UniversalNERError, match=r"U004.*Read 1 replies; .*corpus\.html"):
        script(reply_of(raw="Sorry."))
    assert "Sorry." in (tmp_path / "reports" / "corpus.html").read_text(encoding="utf8")


def test_a_reply_to_an_unknown_prompt_stops_the_script(script):
    with pytest.raises(UniversalNERError, match="U111.*0000.*type.v1"):
        script(Reply("p1", TEXT, PAIRS, "model", "0000"))
