"""Getting data sets: from a server, from a stand-in of the hub's library, and what is told where they can't be got."""

import io
import json
import tarfile
import zipfile
from dataclasses import replace
from hashlib import sha256

import datasets
import pytest

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.gold.datasets import DATASETS, TOKEN_TAG, DataSet, Download, Source
from spacy_universalner.gold.obtain import PARTS, obtain, status, tell_how

from ..hub_server import Hub, serve

TEXT = b"Ada\tB-per\nleft\tO\n\n"
PAGE = "https://example.org/toy"


class Files(Hub):
    """A server of the files of a folder, by their names."""

    def answer(self, path):
        self.requests.append(path)
        file = self.folder / path.strip("/")
        return file.read_bytes() if file.is_file() else None


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "server"
    folder.mkdir()
    hub = Files(folder)
    with serve(hub) as hub.url:
        yield hub


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "benchmark"


def sum_of(content):
    return sha256(content).hexdigest()


def toy(*files, **more):
    paths = {"test": tuple(target for file in files for target in file.targets)}
    source = Source(kind="download", page=PAGE, files=files)
    return DataSet("toy", "columns", TOKEN_TAG, paths, {"per": "person"}, source=source, **more)


def offer(server, name="test.tsv", content=TEXT, known=True, path="toy/test.tsv"):
    (server.folder / name).write_bytes(content)
    return Download(f"{server.url}{name}", sum_of(content) if known else None, path)


def left_in(folder):
    return sorted(path.name for path in (folder / PARTS).iterdir()) if (folder / PARTS).is_dir() else []


# Downloads


def test_a_file_is_fetched_checked_and_put_in_its_place(server, folder):
    file = offer(server)
    assert obtain(toy(file), folder) == {"toy/test.tsv": sum_of(TEXT)}
    assert (folder / "toy/test.tsv").read_bytes() == TEXT
    assert not (folder / PARTS).exists()


def test_what_is_there_is_not_fetched_again(server, folder):
    files = [offer(server, f"{name}.tsv", path=f"toy/{name}.tsv") for name in ("train", "test")]
    (folder / "toy").mkdir(parents=True)
    (folder / "toy/train.tsv").write_text("mine")
    assert list(obtain(toy(*files), folder)) == ["toy/test.tsv"]
    assert (folder / "toy/train.tsv").read_text() == "mine"
    assert server.requests == ["/test.tsv"]
    assert obtain(toy(*files), folder) == {}


def test_a_file_of_another_version_is_not_kept(server, folder):
    file = replace(offer(server), sha256="0" * 64)
    with pytest.raises(
        UniversalNERError, match=rf"\[U214\] {file.url}: sha256 is {sum_of(TEXT)}, expected 0000.*{PAGE}"
    ):
        obtain(toy(file), folder)
    assert not (folder / "toy").exists()
    assert left_in(folder) == []


def test_what_cannot_be_checked_is_refused_unless_it_is_asked_for(server, folder):
    files = [offer(server, "a.tsv", path="toy/a.tsv"), offer(server, "b.tsv", known=False, path="toy/b.tsv")]
    with pytest.raises(
        UniversalNERError, match=rf"\[U212\].*'toy'.*no sha256 is known for {files[1].url}\. .*--unverified"
    ):
        obtain(toy(*files), folder)
    assert server.requests == []
    sums = obtain(toy(*files), folder, unverified=True)
    assert sums == {"toy/a.tsv": sum_of(TEXT), "toy/b.tsv": sum_of(TEXT)}


def test_a_download_that_was_cut_off_is_gone_on_with(server, folder):
    file = offer(server, "model.safetensors")  # the one that the server hangs up on
    server.cut = 5
    with pytest.raises(UniversalNERError, match=r"\[U213\].*cut off after 5 of 18 bytes"):
        obtain(toy(file), folder)
    assert len(left_in(folder)) == 1
    assert not (folder / "toy").exists()
    server.cut = None
    assert obtain(toy(file), folder) == {"toy/test.tsv": sum_of(TEXT)}
    assert server.ranges == ["bytes=5-"]
    assert (folder / "toy/test.tsv").read_bytes() == TEXT


def test_a_download_that_cannot_be_checked_is_begun_anew(server, folder):
    file = offer(server, "model.safetensors", known=False)
    server.cut = 5
    with pytest.raises(UniversalNERError, match=r"\[U213\]"):
        obtain(toy(file), folder, unverified=True)
    server.cut = None
    obtain(toy(file), folder, unverified=True)
    assert server.ranges == []
    assert (folder / "toy/test.tsv").read_bytes() == TEXT


def test_no_answer_is_an_error_that_names_the_page(server, folder):
    file = Download(f"{server.url}gone.tsv", "0" * 64, "toy/test.tsv")
    with pytest.raises(UniversalNERError, match=rf"\[U213\] {file.url} cannot be fetched: HTTPError.*404.*{PAGE}"):
        obtain(toy(file), folder)


def test_no_token_is_sent(server, folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    server.token = "secret"  # which makes the server refuse who does not send it
    with pytest.raises(UniversalNERError, match="U213.*401"):
        obtain(toy(offer(server)), folder)


# Archives


def pack_tar(members):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def pack_zip(members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


MEMBERS = {"toy-1/train/a.txt": b"a", "toy-1/train/deep/b.txt": b"b", "toy-1/test.txt": b"t", "toy-1/else.txt": b"e"}
UNPACK = {"toy/train": "toy-1/train", "toy/test.txt": "toy-1/test.txt"}


@pytest.mark.parametrize(("pack", "name"), [(pack_tar, "a.tar.gz"), (pack_zip, "a.zip")])
def test_files_and_folders_are_taken_out_of_an_archive(server, folder, pack, name):
    file = replace(offer(server, name, pack(MEMBERS)), path="", unpack=UNPACK)
    assert obtain(toy(file), folder) == {file.url: file.sha256}
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == {"toy/train/a.txt": b"a", "toy/train/deep/b.txt": b"b", "toy/test.txt": b"t"}


@pytest.mark.parametrize("pack", [pack_tar, pack_zip])
def test_an_archive_cannot_write_elsewhere(server, folder, pack):
    content = pack({**MEMBERS, "toy-1/train/../../../evil.txt": b"evil", "/toy-1/train/evil.txt": b"evil"})
    obtain(toy(replace(offer(server, "a", content), path="", unpack=UNPACK)), folder)
    assert not list(folder.parent.rglob("evil.txt"))


BAD_ARCHIVES = {
    "without a folder": (
        pack_tar({"toy-1/test.txt": b"t"}),
        "no archive with toy-1/train: .*among others: toy-1/test.txt",
    ),
    "empty": (pack_zip({}), "no archive with toy-1/train: .*among others: nothing"),
    "no archive": (b"<html>Sign in</html>", "no archive with files in it: ReadError"),
    "cut off": (pack_tar({**MEMBERS, "z": bytes(range(256)) * 400})[:-200], "no archive with files in it"),
}


@pytest.mark.parametrize(("content", "message"), BAD_ARCHIVES.values(), ids=BAD_ARCHIVES)
def test_a_bad_archive_is_an_error(server, folder, content, message):
    file = replace(offer(server, "a", content), path="", unpack=UNPACK)
    with pytest.raises(UniversalNERError, match=rf"\[U215\] .*{message}"):
        obtain(toy(file), folder)
    assert not (folder / "toy").exists()


# The hub


TAGS = ["O", "B-per", "I-per"]
FEATURES = datasets.Features(
    {
        "tokens": datasets.List(datasets.Value("string")),
        "tags": datasets.List(datasets.ClassLabel(names=TAGS)),
        "lang": datasets.Value("string"),
    }
)
SENTENCES = {
    "tokens": [["Ada", "left"], ["Ada", "ging"], ["Nobody"]],
    "tags": [[1, 0], [1, 0], [0]],
    "lang": ["en", "de", "en"],
}


class Library:
    """Stands in for the hub: data sets by their splits, and what was asked for."""

    def __init__(self, **splits):
        self.splits = splits
        self.asked = []

    def __call__(self, id, config, *, split, revision):
        self.asked.append((id, config, split, revision))
        if split not in self.splits:
            raise ValueError(f"Unknown split {split!r}.\nShould be one of …")
        return self.splits[split]


@pytest.fixture
def hub(monkeypatch):
    def stand_in(**splits):
        library = Library(**splits)
        monkeypatch.setattr(datasets, "load_dataset", library)
        return library

    return stand_in


def hub_toy(options=None, splits=None, files=None, **more):
    about = {"id": "org/toy", "config": "en", "revision": "a" * 40, "splits": splits or {"test": ("test",)}, **more}
    source = Source(kind="hub", page=PAGE, **about)
    chosen = options or {"tokens": "tokens", "tags": "tags", "only": {"lang": "en"}}
    return DataSet(
        "toy", "token-json", chosen, files or {"test": ("toy/test.jsonl",)}, {"per": "person"}, source=source
    )


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf8").splitlines()]


def test_the_rows_of_a_set_are_written_with_the_names_of_labels(hub, folder):
    library = hub(test=datasets.Dataset.from_dict(SENTENCES, FEATURES))
    sums = obtain(hub_toy(), folder)
    assert library.asked == [("org/toy", "en", "test", "a" * 40)]
    assert read(folder / "toy/test.jsonl") == [
        {"tokens": ["Ada", "left"], "tags": ["B-per", "O"], "lang": "en"},
        {"tokens": ["Nobody"], "tags": ["O"], "lang": "en"},
    ]
    assert sums == {"toy/test.jsonl": sum_of((folder / "toy/test.jsonl").read_bytes())}


def test_ids_without_names_are_left_to_the_reader(hub, folder):
    rows = {"tokens": [["Ada"]], "tags": [[2]]}
    hub(test=datasets.Dataset.from_dict(rows))
    obtain(hub_toy({"tokens": "tokens", "tags": "tags", "names": ["O", "I-per", "B-per"]}), folder)
    assert read(folder / "toy/test.jsonl") == [{"tokens": ["Ada"], "tags": [2]}]


def test_a_split_may_be_made_of_several_and_one_that_is_there_is_kept(hub, folder):
    rows = {name: datasets.Dataset.from_dict({"tokens": [[name]], "tags": [["O"]]}) for name in ("one", "two")}
    library = hub(**rows)
    (folder / "toy").mkdir(parents=True)
    (folder / "toy/test.jsonl").write_text("mine")
    files = {"dev": ("toy/dev.jsonl",), "test": ("toy/test.jsonl",)}
    splits = {"dev": ("one", "two"), "test": ("gone",)}
    sums = obtain(hub_toy({"tokens": "tokens", "tags": "tags"}, splits, files), folder)
    assert list(sums) == ["toy/dev.jsonl"]
    assert [row["tokens"] for row in read(folder / "toy/dev.jsonl")] == [["one"], ["two"]]
    assert [asked[2] for asked in library.asked] == ["one", "two"]


def test_the_sentences_of_documents_are_rows(hub, folder):
    names = datasets.List(datasets.List(datasets.ClassLabel(names=TAGS)))
    words = datasets.List(datasets.List(datasets.Value("string")))
    features = datasets.Features({"tokens": words, "tags": names, "kept": datasets.List(datasets.Value("int64"))})
    rows = {"tokens": [[["Ada", "left"], ["Yes"]]], "tags": [[[1, 0], [0]]], "kept": [[1, 0]]}
    hub(test=datasets.Dataset.from_dict(rows, features))
    options = {"tokens": "tokens", "tags": "tags", "only": {"kept": 1}}
    obtain(hub_toy(options, unroll=("tokens", "tags", "kept")), folder)
    assert read(folder / "toy/test.jsonl") == [{"tokens": ["Ada", "left"], "tags": ["B-per", "O"], "kept": 1}]


@pytest.mark.parametrize("revision", [None, "main", "refs/convert/parquet"])
def test_a_revision_that_may_change_is_refused_unless_it_is_asked_for(hub, folder, revision):
    library = hub(test=datasets.Dataset.from_dict(SENTENCES, FEATURES))
    with pytest.raises(UniversalNERError, match=r"\[U212\].*org/toy on the hub may change.*--unverified"):
        obtain(hub_toy(revision=revision), folder)
    assert library.asked == []
    assert list(obtain(hub_toy(revision=revision), folder, unverified=True)) == ["toy/test.jsonl"]


BAD_ROWS = {
    "no such split": ({"train": SENTENCES}, {}, r"U216.*org/toy, config en.*split test.*Unknown split 'test'\. See"),
    "other columns": ({"test": {"words": [["Ada"]]}}, {}, r"U217.*columns \['words'\].*also lang, tags, tokens"),
    "no rows of this set": ({"test": SENTENCES}, {"lang": "fr"}, r"U217.*3 rows, expected some with \{'lang': 'fr'\}"),
}


@pytest.mark.parametrize(("splits", "only", "message"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_rows_of_another_shape_are_an_error_and_leave_no_file(hub, folder, splits, only, message):
    hub(**{split: datasets.Dataset.from_dict(rows) for split, rows in splits.items()})
    options = {"tokens": "tokens", "tags": "tags", "only": only or {"lang": "en"}}
    with pytest.raises(UniversalNERError, match=message):
        obtain(hub_toy(options), folder)
    assert not list(folder.rglob("*.jsonl*"))


# By hand, and what there is


def test_a_set_under_a_licence_is_told_step_by_step(folder):
    with pytest.raises(UniversalNERError) as caught:
        obtain(DATASETS["i2b2-2010"], folder, unverified=True)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("[U211] Data set 'i2b2-2010' can only be got by hand (licence: data use agreement")
    assert lines[1].startswith("  1. Sign the data use agreement")
    assert "  i2b2-2010/train" in lines
    assert lines[-1].startswith("See https://portal.dbmi.hms.harvard.edu/")


def test_status_tells_what_is_there_what_is_missing_and_how_it_is_got(server, folder):
    one, two = (offer(server, f"{name}.tsv", path=f"toy/{name}.tsv") for name in ("one", "two"))
    dataset = toy(one, two, license="ours", redistribute="yes")
    (before,) = status(folder, [dataset])
    assert (before.state, before.missing) == ("missing", ("toy/one.tsv", "toy/two.tsv"))
    obtain(toy(one), folder)
    (part,) = status(folder, [dataset])
    assert (part.state, part.missing, part.how) == ("part missing", ("toy/two.tsv",), f"download: {PAGE}")
    assert (part.license, part.redistribute) == ("ours", "yes")
    obtain(dataset, folder)
    assert [row.state for row in status(folder, [dataset], check=True)] == ["there"]


def test_status_tells_a_changed_file_if_asked_to_look(server, folder):
    dataset = toy(offer(server))
    obtain(dataset, folder)
    (folder / "toy/test.tsv").write_text("mine")
    assert [(row.state, row.changed) for row in status(folder, [dataset])] == [("there", ())]
    assert [(r.state, r.changed) for r in status(folder, [dataset], check=True)] == [("changed", ("toy/test.tsv",))]


def test_status_has_a_row_for_each_set_of_the_benchmark(folder):
    rows = status(folder)
    assert [row.name for row in rows] == list(DATASETS)
    assert {row.state for row in rows} == {"missing"}
    assert rows[0].how == "by hand: https://catalog.ldc.upenn.edu/LDC2005T09"
    assert tell_how(DATASETS["fewnerd-fine"]) == "hub: DFKI-SLT/few-nerd (not verified: needs --unverified)"
    assert tell_how(DATASETS["mapa-fine"]) == "hub: joelniklaus/mapa"


def test_a_set_of_ones_own_is_not_got(folder):
    mine = DataSet("mine", "columns", TOKEN_TAG, {"test": ("mine.tsv",)}, {"per": "person"})
    with pytest.raises(UniversalNERError, match=r"\[U211\].*'mine'"):
        obtain(mine, folder)
