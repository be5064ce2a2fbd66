"""Reading gold: published data sets, and our own held-out conversations."""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

from ..align import place
from ..chunking import split_sentences
from ..errors import Errors, UniversalNERError
from ..records import Conversation
from .datasets import DataSet
from .formats import READERS, Sentence, SetAside, split_slice

Span = tuple[int, int, str]


@dataclass(frozen=True)
class Example:
    """A text with its gold entities.

    id (str): unique in its set.
    text (str): the text that is asked about.
    types (tuple): the entity types asked for, each once.
    spans (frozenset): (start, end, type) of the gold entities, as character offsets.
    """

    id: str
    text: str
    types: tuple[str, ...]
    spans: frozenset[Span]


def load(
    dataset: DataSet,
    folder: Path,
    limit: int | None = None,
    seed: int = 0,
    split: str = "test",
    set_aside: SetAside | None = None,
) -> list[Example]:
    """Read a split of a data set, or a sample of it.

    dataset (DataSet): the set.
    folder (Path): the benchmark folder.
    limit (int): sample so many sentences, without replacement; None or 0 for all.
    seed (int): the sample's seed.
    split (str): train, dev or test.
    set_aside (Counter): counts what its files have and cannot be used; None to count nothing.
    RETURNS (list): the examples, in the order of the files.
    RAISES (UniversalNERError): no such split, a file that is missing or empty, a bad line, a tag that is not known.
    """
    files = dataset.files.get(split)
    if not files:
        raise UniversalNERError(Errors.U224.format(name=dataset.name, split=split, known=", ".join(dataset.files)))
    prefix = dataset.name if split == "test" else f"{dataset.name}-{split}"
    examples = read_files(
        files,
        folder,
        name=dataset.name,
        format=dataset.format,
        options=dataset.options,
        labels=dataset.labels,
        prefix=prefix,
        cut=dataset.split_sentences,
        shuffle=dataset.shuffle,
        set_aside=SetAside() if set_aside is None else set_aside,
    )
    if not limit or limit >= len(examples):
        return examples
    return [examples[i] for i in sorted(random.Random(seed).sample(range(len(examples)), limit))]


def load_sets(
    datasets: Iterable[DataSet], folder: str | Path, limit: int | None = None, seed: int = 0
) -> dict[str, list[Example]]:
    """Read several data sets by name; none when no folder is named (an empty string)."""
    return {dataset.name: load(dataset, Path(folder), limit, seed) for dataset in datasets} if folder else {}


def read_files(
    files: Iterable[str],
    folder: Path,
    *,
    name: str,
    format: str,
    options: Mapping[str, Any],
    labels: Mapping[str, str | None],
    prefix: str,
    cut: bool,
    shuffle: int | None,
    set_aside: SetAside,
) -> list[Example]:
    """Read files of a format, their sentences numbered through.

    files (Iterable[str]): files or folders, each with a slice or without (see `split_slice`).
    folder (Path): where they stand.
    name (str): the data set.
    format (str): the name of their format.
    options (Mapping): the format's options.
    labels (Mapping): the words asked for each tag, None for one that is left out.
    prefix (str): what the names of the sentences begin with.
    cut (bool): what is read are documents, to be cut into sentences.
    shuffle (int): the seed that a file's sentences, or documents, are shuffled with before it is sliced; None for not.
    set_aside (Counter): counts what cannot be used.
    RAISES (UniversalNERError): a file that is missing or empty, a bad line, a tag that is not known.
    """
    types = tuple(dict.fromkeys(label for label in labels.values() if label))
    examples: list[Example] = []
    number = 0
    for file in files:
        path, part = split_slice(file)
        if not (folder / path).exists():
            raise UniversalNERError(Errors.U080.format(path=folder / path, name=name, file=path))
        sentences: Iterable[Sentence] = read(folder / path, set_aside, name=name, format=format, options=options)
        if part is not None:
            sentences = part.take(_shuffle(sentences, shuffle))
        before = number
        for number, sentence in enumerate(sentences, before + 1):
            spans = frozenset(
                (start, end, label)
                for start, end, tag in sentence.spans
                if (label := _label(tag, labels, sentence, name))
            )
            example = Example(f"{prefix}-{number - 1}", sentence.text, types, spans)
            examples += _cut(example, set_aside) if cut else [example]
        if number == before:
            raise UniversalNERError(Errors.U004.format(path=folder / path, kind="sentence", hint="Fetch it again."))
    return examples


def read(path: Path, set_aside: SetAside, *, name: str, format: str, options: Mapping[str, Any]) -> Iterator[Sentence]:
    """The sentences of a file with the tags it has.

    RAISES (UniversalNERError): a format, or an option of it, that is not known; otherwise as the format's reader.
    """
    try:
        reader = READERS[format]
        signature(reader).bind(path, set_aside, **options)
    except (KeyError, TypeError) as err:
        reason = "no such format" if isinstance(err, KeyError) else err
        about = {"name": name, "format": format, "known": ", ".join(READERS)}
        raise UniversalNERError(Errors.U225.format(reason=reason, **about)) from err
    return reader(path, set_aside, **options)


def find_tags(path: Path, format: str, options: Mapping[str, Any]) -> list[str]:
    """The tags of a file, sorted: the labels of a set that comes without a map.

    RAISES (UniversalNERError): as `read`.
    """
    sentences = read(path, SetAside(), name=path.name, format=format, options=options)
    return sorted({tag for sentence in sentences for _, _, tag in sentence.spans})


def divide(example: Example, pieces: Sequence[tuple[int, int]]) -> list[Example]:
    """Cut an example into pieces of its text; a span that no piece holds whole is in none of them.

    pieces (Sequence): (start, end) character offsets, not overlapping.
    """
    ids = [example.id] if len(pieces) == 1 else [f"{example.id}.{i}" for i in range(len(pieces))]
    parts = []
    for id_, (first, last) in zip(ids, pieces, strict=True):
        inside = (span for span in example.spans if first <= span[0] and span[1] <= last)
        spans = frozenset((start - first, end - first, type_) for start, end, type_ in inside)
        parts.append(Example(id_, example.text[first:last], example.types, spans))
    return parts


def dev_examples(conversations: Iterable[Conversation]) -> list[Example]:
    """Turn held-out conversations into examples: every place where a mention of an answer stands is gold.

    A conversation without a question has nothing to score and is left out.
    """
    examples = []
    for talk in conversations:
        spans = (
            (start, end, query.type) for query in talk.queries for start, end in place(talk.text, query.mentions)[0]
        )
        types = tuple(dict.fromkeys(query.type for query in talk.queries))
        if types:
            examples.append(Example(talk.id, talk.text, types, frozenset(spans)))
    return examples


def _shuffle(sentences: Iterable[Sentence], seed: int | None) -> list[Sentence]:
    shuffled = list(sentences)
    if seed is not None:
        random.Random(seed).shuffle(shuffled)
    return shuffled


def _cut(example: Example, set_aside: SetAside) -> list[Example]:
    parts = divide(example, split_sentences(example.text))
    set_aside["entities across a sentence boundary"] += len(example.spans) - sum(len(part.spans) for part in parts)
    return parts


def _label(tag: str, labels: Mapping[str, str | None], sentence: Sentence, name: str) -> str | None:
    if tag not in labels:
        about = {"where": sentence.where, "tag": tag, "name": name}
        raise UniversalNERError(Errors.U082.format(known=", ".join(labels), **about))
    return labels[tag]
