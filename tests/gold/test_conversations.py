import json
import runpy
import sys
from collections import Counter
from pathlib import Path

import pytest
from spacy.tokens import DocBin

from spacy_universalner.gold.conversations import converse, count, describe, draw, make_split, mix
from spacy_universalner.gold.readers import Example
from spacy_universalner.gold.sources import Source
from spacy_universalner.records import Query, read_conversations, read_json, sha256_file

from .test_docs import make_doc

ROOT = Path(__file__).parents[2]
TYPES = ("person", "city")


def make_examples(full, bare):
    """So many sentences with an entity, then so many without one."""
    found = [Example(f"a-train-{i}", f"Ada{i} left.", TYPES, frozenset([(0, 4, "person")])) for i in range(full)]
    return found + [Example(f"a-train-{full + i}", f"It rained {i}.", TYPES, frozenset()) for i in range(bare)]


def make_source(examples, name="a"):
    return Source(name, "our own", {}, len(examples), examples, Counter())


# Spans of "Ada met Bob, Ada and Eve in Ulm.", and the answers about person and city.
ANSWERS = {
    "nothing": ([], (), ()),
    "reading order": ([(21, 24, "person"), (0, 3, "person"), (28, 31, "city")], ("Ada", "Eve"), ("Ulm",)),
    "each once": ([(0, 3, "person"), (13, 16, "person"), (8, 11, "person")], ("Ada", "Bob"), ()),
    "one mention of two types": ([(0, 3, "person"), (0, 3, "city")], ("Ada",), ("Ada",)),
    "one in the other": ([(0, 11, "person"), (8, 11, "person")], ("Ada met Bob", "Bob"), ()),
}


@pytest.mark.parametrize(("spans", "people", "cities"), ANSWERS.values(), ids=ANSWERS)
def test_every_type_of_the_set_is_asked(spans, people, cities):
    talk = converse(Example("a-0", "Ada met Bob, Ada and Eve in Ulm.", TYPES, frozenset(spans)), "a")
    assert (talk.id, talk.text, talk.dataset) == ("a-0", "Ada met Bob, Ada and Eve in Ulm.", "a")
    assert talk.queries == (Query("person", people), Query("city", cities))


# Sentences with and without an entity, the limit, and how many of them are drawn.
SHARES = {
    "all": (30, 10, 0, (30, 10)),
    "as many as there are": (30, 10, 40, (30, 10)),
    "more than there are": (30, 10, 99, (30, 10)),
    "a quarter": (30, 10, 10, (8, 2)),
    "one": (30, 10, 1, (1, 0)),
    "none with an entity": (0, 10, 4, (0, 4)),
    "none without": (10, 0, 4, (4, 0)),
}


@pytest.mark.parametrize(("full", "bare", "limit", "expected"), SHARES.values(), ids=SHARES)
def test_sentences_without_entities_keep_their_share(full, bare, limit, expected):
    drawn = draw(make_examples(full, bare), limit=limit, seed=0)
    assert (sum(bool(e.spans) for e in drawn), sum(not e.spans for e in drawn)) == expected


def test_the_draw_depends_on_the_seed_and_on_no_order():
    examples = make_examples(30, 10)
    drawn = draw(examples, limit=10, seed=1)
    assert draw(examples[::-1], limit=10, seed=1) == drawn
    assert draw(examples, limit=10, seed=2) != drawn
    assert set(draw(examples, limit=5, seed=1)) < set(drawn)


def test_a_sentence_that_stands_twice_is_drawn_once():
    examples = [Example(id_, "Ada left.", TYPES, frozenset()) for id_ in ("a-0", "a-1")]
    assert draw(examples, limit=0, seed=0) == examples[:1]


HELD_OUT = {"none of one": (1, 0), "one of two": (2, 1), "one of five": (5, 1), "a fifth": (40, 8)}


@pytest.mark.parametrize(("count", "expected"), HELD_OUT.values(), ids=HELD_OUT)
def test_a_share_is_held_out(count, expected):
    split = make_split(make_source(make_examples(count, 0)), limit=0, dev_share=0.2, seed=0)
    assert (len(split.train), len(split.dev)) == (count - expected, expected)
    assert not {talk.id for talk in split.train} & {talk.id for talk in split.dev}


def test_a_sentence_of_two_sets_is_held_out_in_both():
    examples = make_examples(40, 0)
    splits = [make_split(make_source(part), limit=0, dev_share=0.2, seed=0) for part in (examples, examples[::-1])]
    assert {talk.text for talk in splits[0].dev} == {talk.text for talk in splits[1].dev}


def test_sets_are_mixed():
    talks = [converse(Example(f"{name}-{i}", "x", TYPES, frozenset()), name) for name in "ab" for i in range(20)]
    mixed = mix(talks, seed=0)
    assert sorted(talk.id for talk in mixed) == sorted(talk.id for talk in talks)
    assert {talk.dataset for talk in mixed[:10]} == {"a", "b"}
    assert mix(talks[::-1], seed=0) == mixed


def test_counts():
    split = make_split(make_source(make_examples(3, 1)), limit=0, dev_share=0.2, seed=0)
    counts = {"sentences": 4, "without_entity": 1, "questions": 8, "negatives": 5, "mentions": 3}
    assert count([*split.train, *split.dev]) == counts


def test_the_origin_of_a_set(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("Ada\tO\n", encoding="utf8")
    examples = make_examples(3, 1)
    source = Source("a", "our own", {"a.tsv": path}, 4, examples * 2, Counter({"entities across a cut": 2}))
    about = describe(source, make_split(source, limit=0, dev_share=0.2, seed=0))
    assert about["files"] == {"a.tsv": sha256_file(path)}
    assert len(about.pop("sha256")) == 64
    assert {key: about[key] for key in ("name", "license", "types", "sentences")} == {
        "name": "a",
        "license": "our own",
        "types": ["person", "city"],
        "sentences": 4,
    }
    assert about["set_aside"] == {"entities across a cut": 2, "repeated sentences": 4}
    assert about["train"]["sentences"] + about["dev"]["sentences"] == 4


PROFILE = """
[supervise]
limit = 5
dev_share = 0.2
max_tokens = 256
seed = 0
benchmark = {benchmark}

[supervise.sets]

[supervise.sets.tickets]
format = "bio"
path = "my.tsv"
labels = {{"per": "person", "misc": null}}
license = "our own"
separator = "\\t"
columns = 2
token = 0
tag = 1

[supervise.sets.news]
format = "spacy"
path = "my.spacy"
labels = null
license = "cc-by-4.0"
spans_key = null
"""


@pytest.fixture
def supervise(tmp_path, monkeypatch):
    """Runs scripts/supervise.py over small files in a folder of its own. RETURNS: its exit code."""
    rows = [line for i in range(6) for line in (f"Ada{i}\tB-per", "left\tO", "Rome\tB-misc", "")]
    (tmp_path / "my.tsv").write_text("\n".join(rows), encoding="utf8")
    DocBin(docs=[make_doc(f"Bob{i} left.", (f"Bob{i}", "PERSON")) for i in range(10)]).to_disk(tmp_path / "my.spacy")
    (tmp_path / "ncbi").mkdir()
    rows = [line for i in range(3) for line in (f"Flu{i}\tB-Disease", "")]
    (tmp_path / "ncbi" / "train.tsv").write_text("\n".join(rows), encoding="utf8")

    def run(benchmark, *arguments, profile=PROFILE):
        (tmp_path / "my.cfg").write_text(profile.format(benchmark=json.dumps(benchmark)), encoding="utf8")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["supervise.py", "--config", "my.cfg", *arguments])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / "scripts" / "supervise.py"), run_name="__main__")
        return ended.value.code

    return run


def test_the_script_writes_conversations_of_all_sets(supervise, tmp_path):
    assert supervise(["ncbi"], "--data", ".") == 0
    talks = {part: list(read_conversations(tmp_path / "supervised" / f"{part}.jsonl")) for part in ("train", "dev")}
    sizes = {part: Counter(talk.dataset for talk in found) for part, found in talks.items()}
    assert sizes == {"train": {"ncbi": 2, "tickets": 4, "news": 4}, "dev": {"ncbi": 1, "tickets": 1, "news": 1}}
    asked = {talk.dataset: [query.type for query in talk.queries] for talk in talks["train"]}
    assert asked == {"ncbi": ["disease"], "tickets": ["person"], "news": ["person"]}
    assert all(query.mentions == (talk.text.split()[0],) for talk in talks["train"] for query in talk.queries)


def test_the_script_says_where_the_conversations_come_from(supervise, tmp_path):
    supervise(["ncbi"], "--data", ".")
    origin = read_json(tmp_path / "supervised" / "origin.json")
    assert [(entry["name"], list(entry["files"]), entry["sentences"]) for entry in origin["data"]] == [
        ("ncbi", ["ncbi/train.tsv"], 3),
        ("tickets", ["my.tsv"], 6),
        ("news", ["my.spacy"], 10),
    ]
    assert [origin[part]["sentences"] for part in ("train", "dev")] == [10, 3]
    assert (origin["limit"], origin["seed"]) == (5, 0)


def test_the_script_writes_the_same_again(supervise, tmp_path):
    written = []
    for _ in range(2):
        supervise([])
        written.append([(tmp_path / "supervised" / name).read_bytes() for name in ("train.jsonl", "dev.jsonl")])
    assert written[0] == written[1]


REFUSED = {
    "a zero-shot set": (["ncbi", "movie"], PROFILE, "[U155]"),
    "no folder": (["ncbi"], PROFILE, "[U156]"),
    "a bad profile": ([], PROFILE + 'colour = "red"\n', "[U010]"),
}


@pytest.mark.parametrize(("benchmark", "profile", "code"), REFUSED.values(), ids=REFUSED)
def test_the_script_ends_with_a_sentence(supervise, tmp_path, capsys, benchmark, profile, code):
    assert supervise(benchmark, profile=profile) == 1
    assert code in capsys.readouterr().err
    assert not (tmp_path / "supervised").exists()
