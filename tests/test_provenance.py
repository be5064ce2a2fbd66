import pytest

from spacy_universalner import provenance
from spacy_universalner.provenance import (
    choose_license,
    describe_data,
    describe_start,
    describe_training,
    find_base,
    list_licenses,
)
from spacy_universalner.records import sha256_file, write_json, write_rows

from .conftest import CONVERSATIONS

SMOL = {"name": "SmolLM2-135M-Instruct", "source": "hub, revision abc", "files": {"config.json": "f" * 64}}
OTHER = {"name": "some/base", "source": "hub, revision abc", "files": {}}
EMBEDDED = {"teachers": {"recorded": 2}, "embedded": True, "license": "cc0-1.0", "language": "en"}
CHATGPT = {"teachers": {"gpt-4.1-mini": 2}, "embedded": False, "license": "not stated", "language": "not stated"}
STUDENT = {
    "base": SMOL,
    "method": "full",
    "template": "plain.v1",
    "licenses": [{"of": "base x", "license": "mit"}, {"of": "replies of y", "license": "cc0-1.0"}],
}
BASE = ("base SmolLM2-135M-Instruct", "apache-2.0")
UNKNOWN = ("conversations", "not known")
INHERITED = {
    "the embedded corpus": (
        SMOL,
        [EMBEDDED],
        [BASE, ("replies of recorded", "cc0-1.0"), ("passages", "cc0-1.0")],
        "apache-2.0",
    ),
    "a teacher of OpenAI": (
        SMOL,
        [CHATGPT],
        [
            BASE,
            ("replies of gpt-4.1-mini", "the terms of use of its provider, by its name OpenAI"),
            ("passages", "those of their documents"),
        ],
        "other",
    ),
    "another teacher": (
        SMOL,
        [{**CHATGPT, "teachers": {"gpt-oss-20b": 2}}],
        [
            BASE,
            ("replies of gpt-oss-20b", "the terms of that model and of whoever served it"),
            ("passages", "those of their documents"),
        ],
        "other",
    ),
    "imported": (
        SMOL,
        [{"license": "cc-by-nc-4.0", "files": {"train.json": "f" * 64}}],
        [BASE, ("data in train.json", "cc-by-nc-4.0")],
        "other",
    ),
    "gold data": (
        SMOL,
        [{"data": [{"name": "a", "license": "cc0-1.0"}, {"name": "b"}]}],
        [BASE, ("data set a", "cc0-1.0"), ("data set b", "not stated")],
        "other",
    ),
    "data of unknown origin": (SMOL, [None], [BASE, UNKNOWN], "other"),
    "another base": (OTHER, [None], [("base some/base", "see the base's own card"), UNKNOWN], "other"),
    "a local folder": (
        {**SMOL, "source": "local folder x"},
        [None],
        [(BASE[0], "see the base's own card"), UNKNOWN],
        "other",
    ),
    "a student": (STUDENT, [EMBEDDED], [("base x", "mit"), ("replies of y", "cc0-1.0")], "other"),
    "two of the same": (
        SMOL,
        [EMBEDDED, EMBEDDED],
        [BASE, ("replies of recorded", "cc0-1.0"), ("passages", "cc0-1.0")],
        "apache-2.0",
    ),
}


@pytest.mark.parametrize(("base", "origins", "terms", "license"), INHERITED.values(), ids=INHERITED)
def test_licences_are_inherited(base, origins, terms, license):
    listed = list_licenses(base, origins)
    assert [(entry["of"], entry["license"]) for entry in listed][: len(terms)] == terms
    assert choose_license(listed) == license


def test_a_base_in_a_folder_of_ones_own_may_be_anything():
    assert find_base(SMOL) == ("HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0")
    assert find_base({**SMOL, "source": "local folder x"}) is None
    assert find_base(OTHER) == ("some/base", "see the base's own card")
    assert find_base({}) is None


def test_a_base_is_told_with_its_weights():
    weights = {"model.safetensors": "a" * 64}
    told = {"name": SMOL["name"], "source": SMOL["source"], "weights": weights}
    assert describe_start({**SMOL, "files": {**SMOL["files"], **weights}}) == told


def test_a_student_that_is_tuned_again_keeps_what_it_was_made_of():
    weights = {"model.safetensors": "a" * 64}
    again = describe_start({**STUDENT, "files": weights, "data": {"origins": [EMBEDDED]}})
    assert (again["name"], again["weights"]) == (SMOL["name"], weights)
    assert again["student"]["data"] == {"origins": [EMBEDDED]}


@pytest.fixture
def data(tmp_path):
    """Conversations in two folders, of which the first tells of their origin."""
    for name, rows in (("corpus/train", CONVERSATIONS[:3]), ("corpus/dev", CONVERSATIONS[3:]), ("gold/train", [])):
        write_rows(tmp_path / f"{name}.jsonl", (row.to_sharegpt() for row in rows))
    write_json(tmp_path / "corpus" / "origin.json", EMBEDDED)
    return tmp_path


def test_data_are_counted_and_summed_up(data):
    train, dev = data / "corpus" / "train.jsonl", data / "corpus" / "dev.jsonl"
    assert describe_data([train], dev) == {
        "files": {"corpus/train.jsonl": sha256_file(train), "corpus/dev.jsonl": sha256_file(dev)},
        "train": {"conversations": 3, "questions": 9, "negatives": 4, "mentions": 6},
        "dev": {"conversations": 1, "questions": 2, "negatives": 0, "mentions": 3},
        "origins": [EMBEDDED],
    }


def test_an_origin_that_is_not_told_is_not_known(data):
    train = [data / folder / "train.jsonl" for folder in ("corpus", "gold")]
    made = describe_training({"seed": 0}, base=SMOL, train=train, dev=data / "corpus" / "dev.jsonl")
    assert made["data"]["origins"] == [EMBEDDED, None]
    assert made["licenses"][-1] == {"of": "conversations", "license": "not known"}
    assert (made["settings"], "python" in made["versions"]) == ({"seed": 0}, True)


def test_commit_outside_a_repository_and_without_git(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.find_commit() is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.find_commit() is None
    assert provenance.find_version("no-such-package-at-all") is None
