import json
import shutil
from collections import Counter

import pytest
import yaml

from spacy_universalner.card.dataset import check_same_run, choose_terms, render_card
from spacy_universalner.corpus.conversations import Tally
from spacy_universalner.corpus.origin import Origin
from spacy_universalner.corpus.released import Contents, read_released
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.prompts import TYPE_V1
from spacy_universalner.records import read_conversations, read_json, sha256_file

from ..conftest import ROOT
from ..corpus.test_released import run_script

PARTS = {
    "train": Contents(Tally(9, 40, 15, 30), {"person", "city"}),
    "dev": Contents(Tally(1, 4, 2, 3), {"person", "ship"}),
}
SOURCE = Origin(12, Counter({"gpt-x": 11, "a`b\nc": 1}), Counter({TYPE_V1.sha: 11, "f" * 64: 1}))
FILTERED = {"replies": 12, "records": 10, "mentions": 33, "types": 3, "rejected": {"not in text": 4, "empty": 0}}


@pytest.fixture
def card(tmp_path):
    def card(**changes):
        files = {part: tmp_path / f"{part}.json" for part in PARTS}
        for path in files.values():
            path.write_text("[]")
        made = {"name": 'a "name"', "license": "cc-by-4.0", "language": "de", "embedded": False, "parts": PARTS}
        return render_card(**{**made, "source": SOURCE, "filtered": FILTERED, "files": files, **changes})

    return card


def front_matter(text):
    start, header, _ = text.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(header)


def test_the_header_is_what_the_hub_reads(card):
    assert front_matter(card()) == {
        "pretty_name": 'a "name"',
        "license": "cc-by-4.0",
        "language": ["de"],
        "task_categories": ["token-classification"],
        "size_categories": ["n<1K"],
        "tags": ["named-entity-recognition", "distillation", "conversations"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [
                    {"split": "train", "path": "train.json"},
                    {"split": "validation", "path": "dev.json"},
                ],
            }
        ],
    }


SIZES = {999: "n<1K", 1000: "1K<n<10K", 45_889: "10K<n<100K", 10**6: "1M<n<10M", 10**8: "n>10M"}


@pytest.mark.parametrize(("rows", "size"), SIZES.items())
def test_the_size_is_one_of_the_hubs(card, rows, size):
    assert front_matter(card(parts={"train": Contents(Tally(rows)), "dev": Contents()}))["size_categories"] == [size]


LINES = {
    "counts": "| train | 9 | 40 | 15 | 30 | 2 |",
    "types of both parts": "Types in all: 3.",
    "teacher": "- `gpt-x`: 11 replies",
    "teacher with a strange name": "- `` a`b c ``: 1 replies",
    "prompt": f"- `type.v1`, sha256 `{TYPE_V1.sha}`: 11 replies",
    "unknown prompt": f"- `unknown`, sha256 `{'f' * 64}`: 1 replies",
    "kept": "kept 33 mentions",
    "dropped": "| not in text | 4 |",
    "teacher's terms": "- The replies are those of `gpt-x`, `` a`b c ``; the terms of that teacher",
    "documents": "each under its own licence",
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_card_tells_of(card, line):
    assert line in card()


def test_a_card_names_the_sha256_of_each_file(card, tmp_path):
    text = card()
    assert f"| `dev.json` | 2 | `{sha256_file(tmp_path / 'dev.json')}` |" in text


def test_public_domain_is_said_of_the_embedded_corpus_only(card):
    assert "CC0" in card(embedded=True, license="cc0-1.0")
    assert "CC0" not in card(embedded=False, license="cc0-1.0")


TERMS = {
    "embedded": (("", "", True), ("cc0-1.0", "en")),
    "embedded, named": (("CC-BY-4.0", "", True), ("cc-by-4.0", "en")),
    "named": (("other", "pt", False), ("other", "pt")),
}


@pytest.mark.parametrize(("given", "terms"), TERMS.values(), ids=TERMS)
def test_terms_are_known_or_named(given, terms):
    license, language, embedded = given
    assert choose_terms(license, language, embedded=embedded) == terms


MISSING = {"neither": ("", ""), "no licence": ("", "en"), "no language": ("cc-by-4.0", "")}


@pytest.mark.parametrize(("license", "language"), MISSING.values(), ids=MISSING)
def test_terms_that_are_not_known_are_not_assumed(license, language):
    with pytest.raises(UniversalNERError, match=r"U123.*--vars.license"):
        choose_terms(license, language, embedded=False)


@pytest.mark.parametrize("license", ["cc by", "a\nb: c", '"'])
def test_a_licence_is_an_identifier(license):
    with pytest.raises(UniversalNERError, match="U125"):
        choose_terms(license, "en", embedded=True)


@pytest.mark.parametrize("other", [{"replies": 13}, {"records": 11}], ids=["replies", "records"])
def test_files_of_different_runs_are_an_error(other):
    check_same_run(PARTS, SOURCE, FILTERED)
    with pytest.raises(UniversalNERError, match="U124.*12 replies and 10 conversations"):
        check_same_run(PARTS, SOURCE, {**FILTERED, **other})


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """The embedded corpus, annotated, filtered and converted."""
    folder = tmp_path_factory.mktemp("run")
    for name in ("assets", "configs"):
        shutil.copytree(ROOT / name, folder / name)
    with pytest.MonkeyPatch.context() as patch:
        for stage in ("sample", "annotate", "filter", "convert"):
            assert run_script(stage, monkeypatch=patch, folder=folder) == 0
    return folder


@pytest.fixture
def folder(converted, tmp_path):
    return shutil.copytree(converted, tmp_path / "run")


def test_the_filter_says_where_the_corpus_comes_from(converted):
    origin = read_json(converted / "corpus" / "origin.json")
    assert (origin["teachers"], origin["prompts"]) == ({"recorded": 1541}, {"type.v1": 1541})
    assert (origin["embedded"], origin["license"]) == (True, "cc0-1.0")
    assert origin["files"]["replies.jsonl"] == sha256_file(converted / "corpus" / "replies.jsonl")


def test_the_embedded_corpus_is_exported_under_its_own_licence(folder, monkeypatch):
    assert run_script("export", monkeypatch=monkeypatch, folder=folder) == 0
    header = front_matter((folder / "export" / "README.md").read_text(encoding="utf8"))
    assert (header["license"], header["language"]) == ("cc0-1.0", ["en"])
    for part in ("train", "dev"):
        exported = folder / "export" / f"{part}.json"
        assert list(read_released(exported)) == list(read_conversations(folder / "corpus" / f"{part}.jsonl"))


CHANGES = {"a reply": "replies.jsonl", "a passage": "train.jsonl"}


@pytest.mark.parametrize("name", CHANGES.values(), ids=CHANGES)
def test_other_data_need_a_licence(folder, monkeypatch, capsys, name):
    path = folder / "corpus" / name
    first, *rest = path.read_text(encoding="utf8").splitlines(keepends=True)
    row = json.loads(first)
    if "raw" in row:
        row["raw"] += " "
    else:
        row["conversations"][0]["value"] += " "
    path.write_text(json.dumps(row) + "\n" + "".join(rest), encoding="utf8")
    assert run_script("export", monkeypatch=monkeypatch, folder=folder) == 1
    assert "U123" in capsys.readouterr().err
    assert not (folder / "export").exists()
    named = ("--license", "cc-by-4.0", "--language", "en")
    assert run_script("export", *named, monkeypatch=monkeypatch, folder=folder) == 0
    assert "CC0" not in (folder / "export" / "README.md").read_text(encoding="utf8")
