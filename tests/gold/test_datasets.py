"""The registry of the benchmark: that it is the paper's table, whole, and that a wrong one is told."""

import re
from pathlib import Path
from statistics import mean

import pytest
import srsly

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.gold import datasets
from spacy_universalner.gold.datasets import (
    DATASETS,
    DOMAINS,
    REGISTRY,
    ZERO_SHOT,
    find_sets,
    read_registry,
    zero_shot_sets,
)

ROWS = list(DATASETS.values())
# The paper's Figure 5a, of which every value is 1.0 above the mean of the same domain in its Figure 9.
FIGURE_5 = {
    "General": (51.0, 53.2),
    "Biomed": (38.1, 51.5),
    "Clinics": (25.3, 28.2),
    "STEM": (18.6, 29.3),
    "Programming": (11.6, 27.7),
    "Social media": (31.3, 41.6),
    "Law": (16.3, 20.6),
    "Finance": (52.8, 58.7),
    "Transportation": (11.5, 23.2),
}
# Sets whose types are not as many as the paper's: which it means is not published (see their notes).
OTHER_NUMBER_OF_TYPES = {"multinerd": 15, "mapa-fine": 22}
# Sets that publish no dev split of their own.
NO_DEV = {"ebmnlp", "i2b2-2006", "i2b2-2010", "i2b2-2012", "i2b2-2014", "n2c2-2018", "share-clef"}
DEV_IS_TEST = {"movie", "restaurant", "findvehicle"}


def test_there_are_49_rows_of_43_data_sets():
    assert len(ROWS) == 49
    assert len({row.family for row in ROWS}) == 43
    assert len({row.title for row in ROWS}) == 49
    assert [name for name, row in DATASETS.items() if name != row.name] == []


@pytest.mark.parametrize(("system", "expected"), [("chatgpt", 33.9), ("uniner", 40.7), ("supervised", 78.8)])
def test_the_means_of_the_rows_are_the_papers(system, expected):
    assert round(mean(row.paper[system] for row in ROWS), 1) == expected


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_means_of_domains_are_those_of_figure_5(domain):
    rows = [row for row in ROWS if row.domain == domain]
    means = tuple(round(mean(row.paper[system] for row in rows) + 1.0, 1) for system in ("chatgpt", "uniner"))
    assert means == FIGURE_5[domain]


def test_the_seven_and_the_twenty():
    assert [row.name for row in zero_shot_sets()] == list(ZERO_SHOT)
    assert {row.name for row in ROWS if row.zero_shot} == set(ZERO_SHOT)
    assert [len(row.types) for row in zero_shot_sets()] == [12, 8, 13, 11, 12, 8, 16]
    assert sum(row.in_domain for row in ROWS) == 20


@pytest.mark.parametrize("row", ROWS, ids=DATASETS)
def test_as_many_types_are_asked_as_the_paper_asks(row):
    assert len(row.types) == OTHER_NUMBER_OF_TYPES.get(row.name, row.paper_types)
    if row.name in OTHER_NUMBER_OF_TYPES:
        assert "the paper counts" in row.note


@pytest.mark.parametrize("row", ROWS, ids=DATASETS)
def test_a_row_says_what_its_words_are_and_how_it_is_got(row):
    assert set(row.sentences) == {"train", "dev", "test"}
    assert row.license and row.format
    assert all(words == words.strip() and "_" not in words for words in row.types)
    assert row.source.page.startswith("https://")
    given = {"download": row.source.files, "hub": row.source.id, "hand": row.source.steps}
    assert given[row.source.kind]
    assert row.source.kind == "hand" or row.redistribute != "no"


@pytest.mark.parametrize("row", ROWS, ids=DATASETS)
def test_a_row_names_files_inside_the_benchmark_folder(row):
    assert set(row.files) == {"train", "dev", "test"} - ({"dev"} if row.name in NO_DEV | DEV_IS_TEST else set())
    assert row.paths and all(not Path(path).is_absolute() and ".." not in Path(path).parts for path in row.paths)
    sliced = ["[" in file for files in row.files.values() for file in files]
    assert all(sliced) if row.shuffle is not None else not any(sliced)


def test_sums_are_sums_and_addresses_are_pinned_where_no_sum_is_known():
    files = [file for row in ROWS for file in row.source.files]
    assert all(re.fullmatch("[0-9a-f]{64}", file.sha256) for file in files if file.sha256)
    assert all(file.url.startswith("https://") for file in files)
    assert {row.name for row in ROWS if row.source.kind == "download" and row.source.verified} == {
        *("ai", "literature", "music", "politics", "science", "movie", "restaurant"),
        *("anatem", "bc2gm", "bc5cdr", "ncbi", "scierc", "harveyner", "btc", "tasteset"),
    }


def test_the_sets_of_clinics_are_never_handed_on():
    protected = [row.name for row in ROWS if row.domain == "Clinics" and row.name != "ebmnlp"]
    assert [DATASETS[name].redistribute for name in protected] == ["no"] * len(protected)


def test_the_registry_is_read_once_and_not_before_it_is_asked_for(monkeypatch):
    read = []
    datasets.load_registry.cache_clear()
    monkeypatch.setattr(datasets, "read_registry", lambda: read.append(1) or {"toy": "a set"})
    try:
        assert read == []
        assert datasets.DATASETS == datasets.DATASETS == {"toy": "a set"}
        assert read == [1]
    finally:
        datasets.load_registry.cache_clear()
    with pytest.raises(AttributeError, match="no attribute 'NOTHING'"):
        _ = datasets.NOTHING


def test_unknown_names_are_told_at_once():
    assert [row.name for row in find_sets(["ncbi", "ai"])] == ["ncbi", "ai"]
    with pytest.raises(UniversalNERError, match=r"\[U218\] Unknown data sets: conll, bc6\. .*conllpp"):
        find_sets(["conll", "ai", "bc6"])


# What is changed in the row of a set, and what is told of it.
WRONG = {
    "an unknown key": ("ncbi", {"licence": "MIT"}, "licence: Unexpected keyword argument"),
    "a missing key": ("ncbi", {"license": ...}, "license: missing"),
    "a source that is missing": ("ncbi", {"source": ...}, "source: missing"),
    "a source that is null": ("ncbi", {"source": None}, "source: expected how the set is got"),
    "another kind of value": ("ncbi", {"paper_types": "one"}, "paper_types: Input should be a valid integer"),
    "an unknown domain": ("ncbi", {"domain": "Medicine"}, "domain: Input should be 'General', 'Biomed'"),
    "no words": ("ncbi", {"labels": {"Disease": None}}, "labels: no tag has words"),
    "empty words": ("ai", {"labels": {"person": " ", "task": "task"}}, "labels: empty words for person"),
    "a split that is not known": ("ncbi", {"files": {"test": ["a"], "valid": ["a"]}}, "files: unknown valid"),
    "no test split": ("ncbi", {"files": {"train": ["ncbi/train.tsv"]}}, "files: no test split"),
    "a count that is missing": ("ncbi", {"sentences": {"train": 1, "test": 1}}, "sentences: missing dev"),
    "a score that is missing": ("ncbi", {"paper": {"chatgpt": 1, "uniner": 1}}, "paper: missing supervised"),
    "a score that is not known": ("ncbi", {"paper": {"gpt": 1}}, "paper: unknown gpt"),
    "a file that nothing gives": ("ncbi", {"files": {"test": ["ncbi/a.tsv"]}}, "source: nothing gives ncbi/a.tsv"),
    "no row": ("ncbi", None, "expected keys, got NoneType"),
}
WRONG_SOURCES = {
    "an unknown kind": ({"kind": "mail"}, "source.kind: Input should be 'download'"),
    "an unknown key": ({"kind": "hand", "steps": ["a"], "url": "b"}, "source.url: Unexpected keyword argument"),
    "nothing to do": ({"kind": "hand"}, "source: missing steps, which a source of kind hand needs"),
    "no repository": ({"kind": "hub", "splits": {"test": ["test"]}}, "source: missing id"),
    "keys of another kind": ({"kind": "hand", "steps": ["a"], "id": "b"}, "source: id does not go with kind hand"),
    "a file without a place": (
        {"kind": "download", "files": [{"url": "https://a", "sha256": None}]},
        "source: https://a needs a path, or what to unpack, and not both",
    ),
}


@pytest.fixture(scope="module")
def raw():
    return srsly.read_yaml(REGISTRY)


def write(folder, rows):
    srsly.write_yaml(folder / "registry.yml", rows)
    return folder / "registry.yml"


@pytest.mark.parametrize(("name", "changes", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_a_row_is_told(tmp_path, raw, name, changes, message):
    row = changes and {key: value for key, value in {**raw[name], **changes}.items() if value is not ...}
    with pytest.raises(UniversalNERError, match=rf"\[U210\].*registry\.yml.*\n  {name}: {re.escape(message)}"):
        read_registry(write(tmp_path, {name: row}))


@pytest.mark.parametrize(("source", "message"), WRONG_SOURCES.values(), ids=WRONG_SOURCES)
def test_what_is_wrong_with_a_source_is_told(tmp_path, raw, source, message):
    row = {**raw["ncbi"], "source": {"page": "https://p", **source}}
    with pytest.raises(UniversalNERError, match=rf"\[U210\].*\n  ncbi: {re.escape(message)}"):
        read_registry(write(tmp_path, {"ncbi": row}))


def test_all_that_is_wrong_is_told_at_once(tmp_path, raw):
    rows = {name: {**raw[name], "licence": "MIT"} for name in ("ncbi", "ai")}
    with pytest.raises(UniversalNERError) as caught:
        read_registry(write(tmp_path, rows))
    assert [line.strip().partition(":")[0] for line in str(caught.value).splitlines()[1:]] == ["ncbi", "ai"]


@pytest.mark.parametrize("content", ["[]", "", "a: [", "- 1\n"])
def test_what_is_no_registry_is_an_error(tmp_path, content):
    (tmp_path / "registry.yml").write_text(content)
    with pytest.raises(UniversalNERError, match=r"\[U210\]"):
        read_registry(tmp_path / "registry.yml")
