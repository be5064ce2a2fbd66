"""Data sets to learn from: the benchmark's train splits and files of the user's own, read into passages."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..chunking import chunk
from ..errors import Errors, UniversalNERError
from .datasets import DataSet, train_sets
from .docs import Labels, list_files, name_labels, read_docs
from .formats import SetAside, split_slice
from .readers import Example, divide, find_tags, load, read_files


@dataclass(frozen=True)
class Source:
    """A data set, read.

    name (str): what questions about it call it.
    license (str): as its publishers state it.
    files (Mapping): its files by the names they are known by.
    sentences (int): how many were read.
    examples (list): the same, those longer than a passage in pieces.
    set_aside (Counter): counts of what could not be used.
    """

    name: str
    license: str
    files: Mapping[str, Path]
    sentences: int
    examples: list[Example]
    set_aside: Counter[str]


def read_benchmark(names: Sequence[str], folder: str, *, max_tokens: int) -> list[Source]:
    """Read the train splits of sets of the benchmark.

    names (Sequence[str]): the sets; none reads nothing.
    folder (str): the benchmark folder.
    max_tokens (int): longest passage, in words and punctuation marks.
    RAISES (UniversalNERError): names that cannot be trained on, no folder, a missing file, a bad line.
    """
    datasets = train_sets(names)
    if datasets and not folder:
        raise UniversalNERError(Errors.U156.format(names=", ".join(names)))
    return [_read_train(dataset, Path(folder), max_tokens) for dataset in datasets]


def read_column_set(
    name: str,
    path: Path,
    *,
    labels: Labels | None,
    separator: str | None,
    columns: int,
    token: int,
    tag: int,
    license: str,
    max_tokens: int,
) -> Source:
    """Read a file with a token and its BIO or IOB tag on a line.

    name (str): the data set.
    path (Path): the file.
    labels (Mapping): the words asked for each tag, None for one that is left out; None for all tags in lower case.
    separator (str): what stands between two columns; None for any white space.
    columns (int): how many a line has.
    token, tag (int): where the token and its tag stand, counted from 0.
    license (str): the licence of the data.
    max_tokens (int): longest passage, in words and punctuation marks.
    RAISES (UniversalNERError): no such file, or a bad line.
    """
    if not path.is_file():
        raise UniversalNERError(Errors.U001.format(path=path, hint=f"It is named in [supervise.sets.{name}]."))
    options = {"token": token, "tag": tag, "count": columns, "separator": separator}
    words = name_labels(find_tags(path, "columns", options)) if labels is None else labels
    set_aside = SetAside()
    about = {"name": name, "format": "columns", "options": options, "labels": words, "cut": False, "shuffle": None}
    examples = read_files([path.name], path.parent, prefix=f"{name}-train", set_aside=set_aside, **about)
    return _make_source(name, license, {path.name: path}, examples, set_aside, max_tokens)


def read_doc_set(
    name: str, path: Path, *, labels: Labels | None, spans_key: str | None, license: str, max_tokens: int
) -> Source:
    """Read a `.spacy` file, or all in a folder.

    name (str): the data set.
    path (Path): the file or folder.
    labels (Mapping): the words asked for each label, None for one that is left out; None for all labels in lower case.
    spans_key (str): read doc.spans[spans_key]; None for doc.ents.
    license (str): the licence of the data.
    max_tokens (int): longest passage, in words and punctuation marks.
    RAISES (UniversalNERError): a missing or damaged file, labels the map does not know, nothing to learn from.
    """
    files = list_files(path)
    examples, set_aside = read_docs(files, name=name, labels=labels, spans_key=spans_key)
    root = path if path.is_dir() else path.parent
    named = {file.relative_to(root).as_posix(): file for file in files}
    return _make_source(name, license, named, examples, set_aside, max_tokens)


def _read_train(dataset: DataSet, folder: Path, max_tokens: int) -> Source:
    set_aside = SetAside()
    examples = load(dataset, folder, split="train", set_aside=set_aside)
    paths = [split_slice(file)[0] for file in dataset.files["train"]]
    files = {path: folder / path for path in paths}
    return _make_source(dataset.name, dataset.license, files, examples, set_aside, max_tokens)


def _make_source(
    name: str,
    license: str,
    files: Mapping[str, Path],
    examples: Sequence[Example],
    set_aside: Counter[str],
    max_tokens: int,
) -> Source:
    """Cut what is longer than a passage, as long documents are cut when a pipeline is asked about them."""
    passages: list[Example] = []
    counts = Counter(set_aside)
    for example in examples:
        parts = divide(example, chunk(example.text, max_tokens))
        passages += parts
        counts["sentences without visible text"] += not parts
        counts["entities across a cut"] += len(example.spans) - sum(len(part.spans) for part in parts)
    return Source(name, license, files, len(examples), passages, +counts)
