import gzip
import json
import struct
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from spacy_universalner.corpus.documents import read_documents
from spacy_universalner.errors import UniversalNERError
from spacy_universalner.records import Passage

ROWS = [{"id": 7, "text": "One."}, {"text": "Two.", "source": "s", "extra": 1}, {"text": "", "domain": "law"}]
SETTINGS = {
    "path": None,
    "dataset": None,
    "name": None,
    "revision": None,
    "split": None,
    "text": "text",
    "id": "id",
    "source": "source",
    "domain": "domain",
    "take": 0,
    "shuffle_buffer": 0,
    "seed": 0,
}


def as_lines(rows):
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows).encode()


def two_frames(data):
    return zstandard.compress(data[:40]) + zstandard.compress(data[40:])


def pzstd(data):
    """As `pzstd` packs: before each frame one that is to be skipped."""
    return struct.pack("<III", 0x184D2A50, 4, 9) + zstandard.compress(data)


PACK = {
    "d.jsonl": bytes,
    "d.JSONL": bytes,
    "d.jsonl.gz": gzip.compress,
    "d.jsonl.zst": zstandard.compress,
    "d.v2.jsonl.gz": lambda data: gzip.compress(data[:40]) + gzip.compress(data[40:]),
    "two frames.jsonl.zst": two_frames,
    "skipped frame.jsonl.zst": pzstd,
    "byte order mark.jsonl": lambda data: b"\xef\xbb\xbf" + data,
}


def write(path, *rows, pack=bytes):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pack(as_lines(rows)))
    return path


def write_parquet(path, rows=ROWS, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, **options)
    return path


def write_profile(profile, **changes):
    values = "\n".join(f"{key} = {json.dumps(value)}" for key, value in {**SETTINGS, **changes}.items())
    profile.write_text(f"[documents]\n{values}\n", encoding="utf8")
    return profile


@pytest.mark.parametrize(("name", "pack"), PACK.items(), ids=PACK)
def test_rows_are_documents(tmp_path, name, pack):
    path = write(tmp_path / name, *ROWS, pack=pack)
    assert list(read_documents(path)) == [
        Passage("7", "One."),
        Passage(f"{name}#2", "Two.", source="s"),
        Passage(f"{name}#3", "", domain="law"),
    ]


@pytest.mark.parametrize("row_group", [1, 1000])
def test_rows_of_parquet_are_documents(tmp_path, row_group):
    rows = [{"id": "x", "text": "One.", "more": 1}, {"text": "Two.", "domain": "law"}]
    path = write_parquet(tmp_path / "d.parquet", [*rows, {"text": "Three."}], row_group_size=row_group)
    expected = [Passage("x", "One."), Passage("d.parquet#2", "Two."), Passage("d.parquet#3", "Three.")]
    assert list(read_documents(path)) == expected  # from_pylist takes the columns of the first row


def test_many_rows_of_parquet_are_numbered_throughout(tmp_path):
    path = write_parquet(tmp_path / "d.parquet", [{"text": f"{number}"} for number in range(1000)])
    assert [d.id for d in read_documents(path)] == [f"d.parquet#{number}" for number in range(1, 1001)]


TEXTS = {
    "plain": ("a.txt", "One.\n\n  Twö.\r\n".encode(), bytes),
    "byte order mark": ("a.txt", "\ufeffOne.\n\n  Twö.\r\n".encode(), bytes),
    "gzip": ("a.txt.gz", "One.\n\n  Twö.\r\n".encode(), gzip.compress),
    "zstandard": ("a.txt.zst", "One.\n\n  Twö.\r\n".encode(), zstandard.compress),
}


@pytest.mark.parametrize(("name", "data", "pack"), TEXTS.values(), ids=TEXTS)
def test_a_text_file_is_one_document(tmp_path, name, data, pack):
    (tmp_path / name).write_bytes(pack(data))
    assert list(read_documents(tmp_path / name)) == [Passage(name, "One.\n\n  Twö.\r\n")]


@pytest.fixture
def folder(tmp_path):
    """Files of all kinds at several depths, and two of other kinds."""
    folder = tmp_path / "corpus"
    write(folder / "b" / "rows.jsonl", {"text": "One."}, {"text": "Two."})
    write(folder / "b" / "deep" / "rows.jsonl.gz", {"text": "Three."}, pack=gzip.compress)
    write_parquet(folder / "c.parquet", [{"text": "Four."}])
    for name in ("a.txt", "README.md", "b/rows.csv"):
        (folder / name).write_text("Some text.", encoding="utf8")
    return folder


def test_a_folder_is_read_in_order(folder):
    expected = ["a.txt", "b/deep/rows.jsonl.gz#1", "b/rows.jsonl#1", "b/rows.jsonl#2", "c.parquet#1"]
    assert [document.id for document in read_documents(folder)] == expected


def test_files_of_other_kinds_are_set_aside_and_counted(folder):
    counts = Counter()
    list(read_documents(folder, counts))
    assert counts == {"files": 4, "set_aside_files": 2}


def test_documents_are_streamed(folder):
    write(folder / "z.jsonl", "5")
    assert next(read_documents(folder)).id == "a.txt"


def test_half_a_surrogate_pair_is_replaced(tmp_path):
    path = write(tmp_path / "d.jsonl", r'{"id": "\udc00", "text": "x \ud83d y \ud83d\ude00"}')
    assert list(read_documents(path)) == [Passage("\ufffd", "x \ufffd y \U0001f600")]


BAD = {
    "no text": ({"id": "b"}, r"U007.*line 2.*'text' of a document must be a string, got the fields \['id'\]"),
    "text is a number": ({"id": "b", "text": 5}, "U007.*line 2.*got 5"),
    "text is null": ({"id": "b", "text": None}, "U007.*line 2.*got None"),
    "id is a list": ({"id": [], "text": "One."}, "U007.*line 2.*'id'"),
    "domain is a list": ({"id": "b", "text": "One.", "domain": []}, "U007.*line 2.*'domain'"),
    "no object": ("5", "U002.*line 2"),
    "cut off": ('{"id": "b", "te', "U002.*line 2"),
}


@pytest.mark.parametrize(("row", "message"), BAD.values(), ids=BAD)
def test_a_bad_line_is_named(tmp_path, row, message):
    path = write(tmp_path / "d.jsonl", {"id": "a", "text": "One."}, row)
    with pytest.raises(UniversalNERError, match=message):
        list(read_documents(path))


def test_another_encoding_is_an_error_of_its_line(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_bytes('{"id": "a", "text": "é"}\n'.encode("latin1"))
    with pytest.raises(UniversalNERError, match="U002.*line 1"):
        list(read_documents(path))


def test_null_is_no_value(tmp_path):
    path = write(tmp_path / "d.jsonl", {"text": "One.", "id": None, "source": None, "domain": None})
    assert list(read_documents(path)) == [Passage("d.jsonl#1", "One.")]


DATA = as_lines(ROWS * 50)
UNREADABLE = {
    "missing": ("d.jsonl", None, "U001.*JSONL file"),
    "a missing profile": ("d.cfg", None, "U001.*d.cfg"),
    "another kind": ("d.csv", b"One.", r"U101.*d.csv.*\.jsonl\.zst, \.parquet.*profile"),
    "gzip cut off": ("d.jsonl.gz", gzip.compress(DATA)[:-9], "U100.*d.jsonl.gz.*end-of-stream"),
    "gzip damaged": ("d.jsonl.gz", b"One.", "U100.*d.jsonl.gz"),
    "zstandard cut off": ("d.jsonl.zst", zstandard.compress(DATA)[:-5], "U100.*d.jsonl.zst.*cut off"),
    "second frame cut off": ("d.jsonl.zst", two_frames(DATA)[:-1], "U100.*d.jsonl.zst.*cut off"),
    "zstandard damaged": ("d.jsonl.zst", b"One.", "U100.*d.jsonl.zst"),
    "no Parquet": ("d.parquet", b"One.", "U100.*d.parquet"),
    "text in another encoding": ("d.txt", "é".encode("latin1"), "U100.*d.txt"),
}


@pytest.mark.parametrize(("name", "data", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_an_error(tmp_path, name, data, message):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(UniversalNERError, match=message):
        list(read_documents(tmp_path / name))


def test_parquet_without_a_text_is_an_error(tmp_path):
    with pytest.raises(UniversalNERError, match=r"U007.*d.parquet.*got the fields \['body', 'title'\]"):
        list(read_documents(write_parquet(tmp_path / "d.parquet", [{"title": "a", "body": "b"}])))


def test_a_folder_without_documents_is_an_error(tmp_path):
    (tmp_path / "README.md").write_text("Some text.")
    with pytest.raises(UniversalNERError, match="U102.*other kinds: 1"):
        list(read_documents(tmp_path))


PILE = [{"text": f"Text {number}.", "meta": {"set": "Books" if number % 2 else "Web"}} for number in range(40)]
FIELDS = {"id": None, "source": None, "domain": "meta.set"}


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.zst", "parquet"])
@pytest.mark.parametrize("key", ["path", "dataset"])
def test_a_profile_names_files_and_fields(tmp_path, kind, key):
    data = tmp_path / "data"
    if kind == "parquet":
        write_parquet(data / "train.parquet", PILE)
    else:
        write(data / f"train.{kind}", *PILE, pack=zstandard.compress if kind.endswith("zst") else bytes)
    split = None if key == "path" else "train"
    profile = write_profile(tmp_path / "web.cfg", **{key: str(data), "split": split, "take": 3, **FIELDS})
    label = f"train.{kind}" if key == "path" else "web"
    assert list(read_documents(profile)) == [
        Passage(f"{label}#1", "Text 0.", domain="Web"),
        Passage(f"{label}#2", "Text 1.", domain="Books"),
        Passage(f"{label}#3", "Text 2.", domain="Web"),
    ]


def test_a_profile_may_take_all_rows(tmp_path):
    write(tmp_path / "data" / "train.jsonl", *PILE)
    profile = write_profile(tmp_path / "web.cfg", dataset=str(tmp_path / "data"), split="train", **FIELDS)
    assert [document.text for document in read_documents(profile)] == [row["text"] for row in PILE]


def test_the_seed_decides_how_a_data_set_is_shuffled(tmp_path):
    write(tmp_path / "data" / "train.jsonl", *PILE)
    common = {"dataset": str(tmp_path / "data"), "split": "train", "shuffle_buffer": 20, **FIELDS}
    first, again, other = (
        [document.text for document in read_documents(write_profile(tmp_path / "web.cfg", seed=seed, **common))]
        for seed in (1, 1, 2)
    )
    assert first == again != other
    assert sorted(first) == sorted(other) == sorted(row["text"] for row in PILE)


BAD_SETS = {
    "no such split": ({"split": "nix"}, "U104.*nix.*split"),
    "no such configuration": ({"name": "conf"}, "U104.*conf"),
    "no such field": ({"text": "body"}, "U007.*line 1.*'body'.*'text'"),
    "no such folder": ({"dataset": "/gone/away"}, "U104.*/gone/away"),
}


@pytest.mark.parametrize(("changes", "message"), BAD_SETS.values(), ids=BAD_SETS)
def test_a_bad_data_set_is_an_error(tmp_path, changes, message):
    write(tmp_path / "data" / "train.jsonl", *PILE)
    profile = write_profile(tmp_path / "web.cfg", **{"dataset": str(tmp_path / "data"), "split": "train", **changes})
    with pytest.raises(UniversalNERError, match=message):
        list(read_documents(profile))


def test_a_damaged_row_of_a_data_set_is_an_error(tmp_path):
    write(tmp_path / "data" / "train.jsonl", *PILE, '{"text": ')
    profile = write_profile(tmp_path / "web.cfg", dataset=str(tmp_path / "data"), split="train", **FIELDS)
    with pytest.raises(UniversalNERError, match="U104"):
        list(read_documents(profile))


def test_a_profile_of_a_profile_is_an_error(tmp_path):
    other = write_profile(tmp_path / "a.cfg", path="somewhere")
    with pytest.raises(UniversalNERError, match="U101.*a.cfg"):
        list(read_documents(write_profile(tmp_path / "b.cfg", path=str(other))))
