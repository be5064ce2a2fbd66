import pytest

from spacy_universalner.corpus.origin import (
    Embedded,
    Origin,
    describe_import,
    know_embedded,
    read_embedded,
    trace,
    trace_part,
)
from spacy_universalner.prompts import TYPE_V1
from spacy_universalner.records import Passage, Reply, read_records, sha256_file, split_file, write_records

from ..conftest import ROOT


def reply(id_="1", text="a", raw="[]", model="m", sha="s"):
    return Reply(id_, text, raw, model, sha)


def test_teachers_and_prompts_are_counted():
    source = trace([reply(), reply("2"), reply("3", model="n", sha="t")], know_embedded([], []))
    assert (source.replies, source.models, source.prompts) == (3, {"m": 2, "n": 1}, {"s": 2, "t": 1})


OWN = know_embedded([Passage("1", "a"), Passage("2", "b")], [("1", "[]"), ("2", "[x]")])
REPLIES = {
    "all": ([reply(), reply("2", "b", "[x]")], True),
    "another id": ([reply(), reply("3")], False),
    "another text": ([reply(text="b")], False),
    "another reply": ([reply(), reply("2", "b", "[]")], False),
}


@pytest.mark.parametrize(("replies", "embedded"), REPLIES.values(), ids=REPLIES)
def test_replies_of_the_project_are_known(replies, embedded):
    assert trace(replies, OWN).embedded is embedded


def test_parts_of_the_replies_add_up(tmp_path):
    path = tmp_path / "replies.jsonl"
    write_records(path, [reply(), reply("2", "b", "[x]"), reply("3", model="n")])
    whole = Origin()
    for part in split_file(path, size=1):
        whole.merge(trace_part(part, own=OWN))
    assert whole == trace(read_records(path, Reply), OWN)
    assert (whole.replies, whole.embedded) == (3, False)


def test_what_is_said_of_replies_of_others(tmp_path):
    path = tmp_path / "replies.jsonl"
    path.write_text("{}")
    source = trace([reply(sha=TYPE_V1.sha), reply("2", sha=TYPE_V1.sha), reply("3", model="n", sha="t")], Embedded())
    assert source.to_json({"replies.jsonl": path}) == {
        "replies": 3,
        "teachers": {"m": 2, "n": 1},
        "prompts": {"type.v1": 2, "unknown, sha256 t": 1},
        "embedded": False,
        "license": "not stated",
        "language": "not stated",
        "files": {"replies.jsonl": sha256_file(path)},
    }


def test_what_is_said_of_replies_of_the_project():
    said = trace([reply()], OWN).to_json({})
    assert (said["embedded"], said["license"], said["language"]) == (True, "cc0-1.0", "en")


def test_the_embedded_corpus_is_read_from_its_folder(tmp_path):
    own = read_embedded(ROOT / "assets")
    assert (len(own.passages), len(own.replies)) == (1541, 2 * 1541)
    assert read_embedded(tmp_path) == Embedded()


TERMS = {
    "none named": (("", "", ""), ("not stated", "not stated", "not stated")),
    "named": (("a/b", "cc-by-nc-4.0", "en"), ("a/b", "cc-by-nc-4.0", "en")),
}


@pytest.mark.parametrize(("given", "said"), TERMS.values(), ids=TERMS)
def test_an_import_states_what_was_named(tmp_path, given, said):
    path = tmp_path / "train.json"
    path.write_text("[]")
    keys = ("dataset", "license", "language")
    found = describe_import(path, **dict(zip(keys, given, strict=True)), variant="type")
    assert tuple(found[key] for key in keys) == said
    assert (found["variant"], found["files"]) == ("type", {"train.json": sha256_file(path)})
