"""The same work here and on a Ray cluster of two workers on this machine."""

import gzip
import json
import os
import random
import sys
import time
from functools import partial
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from spacy_universalner.corpus.conversations import NegativeSampler, Survey, converse_part, survey_part, write_parts
from spacy_universalner.corpus.documents import list_sources, read_documents
from spacy_universalner.corpus.filtering import FilterReport, filter_part
from spacy_universalner.corpus.passages import draw, draw_file, finish, merge
from spacy_universalner.distributed import spread, stream
from spacy_universalner.errors import Errors, UniversalNERError
from spacy_universalner.prompts import TYPE_V1
from spacy_universalner.records import Conversation, Reply, split_file, write_records

WORDS = ("Ada", "Bob", "Oslo", "Rome", "river", "ship", "gene", "court", "met", "left", "near", "wrote", "saw", "and")
TYPES = ("person", "city", "vessel", "organ", "law")
DRAW = {"max_tokens": 40, "limit": 120, "seed": 3, "strata": "domain", "spare": 0.25}
FILTER = {
    "rules": ["not in text", "else type"],
    "else_types": ["law"],
    "max_type_words": 6,
    "max_entity_words": 30,
    "normalize_space": True,
    "normalize_case": False,
}


@pytest.fixture(scope="module", autouse=True)
def leave():
    yield
    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()


def double(number):
    return 2 * number


def refuse(number):
    raise UniversalNERError(Errors.U008.format(name="number", got=number))


class Meeting:
    """Work that waits, for two minutes at most, until two workers have come to it."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, number):
        (self.folder / str(os.getpid())).touch()
        end = time.monotonic() + 120
        while len(list(self.folder.iterdir())) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        return number, os.getpid()


def read_badly():
    yield 1
    raise UniversalNERError(Errors.U008.format(name="number", got=2))


def make_documents(folder):
    """Three kinds of files, with copies of texts within and between them."""
    rng = random.Random(1)
    texts = [" ".join(rng.choices(WORDS, k=rng.randrange(5, 90))) + "." for _ in range(400)]
    rows = [{"text": rng.choice(texts), "domain": rng.choice("abc")} for _ in range(600)]
    lines = [json.dumps(row) + "\n" for row in rows]
    (folder / "one.jsonl").write_text("".join(lines[:200]), encoding="utf8")
    (folder / "two.jsonl.gz").write_bytes(gzip.compress("".join(lines[200:400]).encode()))
    parquet.write_table(pyarrow.Table.from_pylist(rows[400:]), folder / "three.parquet")
    (folder / "four.txt").write_text(texts[0], encoding="utf8")


def answer(passage):
    rng = random.Random(passage.id)
    pairs = [(rng.choice([*passage.text.split(), "nowhere"]).strip("."), rng.choice(TYPES)) for _ in range(6)]
    return Reply(passage.id, passage.text, repr(pairs), "gpt", TYPE_V1.sha)


def run_all(folder, ray):
    """Sample, filter and convert; the three results as sorted lines, and the counts."""
    sources = list_sources(folder / "documents")
    reservoir = merge(spread(partial(draw_file, **DRAW), sources, ray))
    passages = finish(reservoir, limit=100, near_duplicates=0.8).passages
    write_records(folder / "replies.jsonl", map(answer, passages))
    report, records = FilterReport(), []
    for found, part in spread(partial(filter_part, **FILTER), split_file(folder / "replies.jsonl", 8000), ray):
        records += found
        report.merge(part)
    write_records(folder / "records.jsonl", records)
    parts = split_file(folder / "records.jsonl", 8000)
    survey = Survey(seed=0, dev_limit=20)
    for part in spread(partial(survey_part, seed=0, dev_limit=20), parts, ray):
        survey.merge(part)
    split = survey.finish(dev_share=0.1)
    sampler = NegativeSampler(split.type_counts, strategy="frequency")
    ask = partial(converse_part, sampler=sampler, number=1.0, per="positive", seed=0)
    conversations = [c.to_sharegpt() for part in spread(ask, parts, ray) for c in part]
    return passages, records, conversations, split.dev, report.to_json(), len(parts)


@pytest.mark.slow
def test_a_cluster_gives_what_one_process_gives(tmp_path):
    (tmp_path / "documents").mkdir()
    make_documents(tmp_path / "documents")
    here, there = run_all(tmp_path, ""), run_all(tmp_path, "local")
    assert here == there
    assert len(here[0]) == 100 and here[-1] > 1


@pytest.mark.slow
def test_an_error_of_a_worker_arrives_as_it_was_raised():
    with pytest.raises(UniversalNERError, match="U008.*got 1"):
        list(spread(refuse, [1, 2], "local"))


@pytest.mark.slow
def test_results_come_in_order_from_a_cluster():
    assert list(spread(double, range(50), "local")) == [2 * number for number in range(50)]


@pytest.mark.slow
def test_a_stream_is_shared_by_the_workers_of_a_cluster(tmp_path):
    done = list(stream(partial(Meeting, tmp_path), partial(range, 60), "local"))
    assert sorted(number for number, _ in done) == list(range(60))
    assert len({process for _, process in done} - {os.getpid()}) == 2


# What makes the work, what reads the items, and what is said.
FAULTS = {
    "in the work": (partial(partial, refuse), partial(range, 3), "U008.*got"),
    "in making it": (partial(refuse, 7), partial(range, 3), "U008.*got 7"),
    "in reading": (partial(partial, double), read_badly, "U008.*got 2"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("make", "read", "message"), FAULTS.values(), ids=FAULTS)
def test_an_error_of_a_stream_arrives_as_it_was_raised(make, read, message):
    with pytest.raises(UniversalNERError, match=message):
        list(stream(make, read, "local"))


@pytest.mark.slow
def test_a_worker_no_machine_has_room_for(tmp_path):
    with pytest.raises(UniversalNERError, match="U204.*1 CPUs and 100 GPUs"):
        list(stream(partial(Meeting, tmp_path), partial(range, 3), "local", gpus=100))


@pytest.mark.slow
def test_there_is_no_cluster_at_the_address():
    with pytest.raises(UniversalNERError, match=r"U141.*127\.0\.0\.1:9"):
        list(spread(double, [1], "127.0.0.1:9"))


def test_without_a_cluster_work_is_done_here_when_it_is_asked_for():
    done = []
    results = spread(done.append, [1, 2])
    assert done == []
    assert (next(results), done) == (None, [1])


def test_without_a_cluster_a_stream_is_read_as_it_is_worked_on():
    read = []
    results = stream(partial(partial, double), lambda: (read.append(number) or number for number in range(3)))
    assert (next(results), read) == (0, [0])


def test_without_ray_an_address_is_an_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UniversalNERError, match="U140"):
        list(spread(double, [1], "local"))


def test_merged_files_give_what_one_stream_gives(tmp_path):
    make_documents(tmp_path)
    streamed = finish(draw(read_documents(tmp_path), **DRAW), limit=100, near_duplicates=0.8)
    merged = finish(merge(draw_file(s, **DRAW) for s in list_sources(tmp_path)), limit=100, near_duplicates=0.8)
    assert merged.passages == sorted(streamed.passages, key=lambda passage: passage.id)


@pytest.mark.parametrize("size", [1, 7, 50, 10_000])
def test_parts_hold_all_lines_once(tmp_path, size):
    path = tmp_path / "lines"
    path.write_bytes(b"".join(b"x" * (i % 23) + b"\n" for i in range(60)) + b"no line break")
    parts = split_file(path, size)
    data = path.read_bytes()
    assert b"".join(data[part.start : part.end] for part in parts) == data
    assert all(part.start == 0 or data[part.start - 1 : part.start] == b"\n" for part in parts)


def test_an_empty_file_has_no_parts(tmp_path):
    (tmp_path / "empty").touch()
    assert split_file(tmp_path / "empty") == []


def test_a_profile_of_a_data_set_is_read_by_one_reader():
    with pytest.raises(UniversalNERError, match="U106"):
        list_sources(Path(__file__).parents[1] / "configs" / "pile.cfg")


def test_an_id_in_two_parts_is_found(tmp_path):
    conversation = Conversation("a", "Ada.", ())
    with pytest.raises(UniversalNERError, match="U127.*'a'"):
        write_parts([conversation, conversation], set(), train=tmp_path / "train.jsonl", dev=tmp_path / "dev.jsonl")
