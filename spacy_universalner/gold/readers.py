"""Reading gold: published column files, and our own held-out conversations."""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from ..align import place
from ..errors import Errors, UniversalNERError
from ..records import Conversation
from .datasets import Columns, DataSet

Span = tuple[int, int, str]
Token = tuple[str, str]
DOCUMENT = "-DOCSTART-"


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


def load(dataset: DataSet, folder: Path, limit: int | None = None, seed: int = 0) -> list[Example]:
    """Read a data set, or a sample of it.

    dataset (DataSet): the set.
    folder (Path): the benchmark folder.
    limit (int): sample so many sentences, without replacement; None or 0 for all.
    seed (int): the sample's seed.
    RETURNS (list): the examples, in file order.
    RAISES (UniversalNERError): the file is missing or empty, or a line is bad.
    """
    examples = _read_split(dataset, folder, (dataset.file,), dataset.name)
    if not limit or limit >= len(examples):
        return examples
    return [examples[i] for i in sorted(random.Random(seed).sample(range(len(examples)), limit))]


def load_train(dataset: DataSet, folder: Path) -> list[Example]:
    """Read the train split of a data set, in the order of its files.

    RAISES (UniversalNERError): a file is missing or empty, or a line is bad.
    """
    return _read_split(dataset, folder, dataset.train, f"{dataset.name}-train")


def load_sets(
    datasets: Iterable[DataSet], folder: str | Path, limit: int | None = None, seed: int = 0
) -> dict[str, list[Example]]:
    """Read several data sets by name; none when no folder is named (an empty string)."""
    return {dataset.name: load(dataset, Path(folder), limit, seed) for dataset in datasets} if folder else {}


def read_sentences(path: Path, dataset: DataSet) -> Iterator[list[Token]]:
    """Stream the sentences of a column file as (token, tag) rows; document marks and invisible tokens are left out.

    RAISES (UniversalNERError): a line with another number of columns, or a tag the set does not know.
    """
    rows: list[Token] = []
    for number, line in _read_lines(path):
        if not line.strip():
            if rows:
                yield rows
            rows = []
        else:
            token, tag = _read_row(line, number, path, dataset)
            rows += [(token, tag)] if token else []
    if rows:
        yield rows


def find_tags(path: Path, form: Columns) -> list[str]:
    """The tags of a column file without their prefixes, sorted: the labels of a set that comes without a map.

    RAISES (UniversalNERError): a line with another number of columns.
    """
    lines = ((number, line) for number, line in _read_lines(path) if line.strip())
    tags = {_read_cells(line, number, path, form)[1] for number, line in lines}
    return sorted({tag.partition("-")[2] for tag in tags} - {""})


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


def _read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file with their numbers, but for document marks."""
    with path.open(encoding="utf8", newline="\n") as file:
        try:
            for number, line in enumerate(file, 1):
                if not line.startswith(DOCUMENT):
                    yield number, line
        except UnicodeDecodeError as err:
            raise UniversalNERError(Errors.U100.format(path=path, reason=err)) from err


def _read_split(dataset: DataSet, folder: Path, files: Iterable[str], prefix: str) -> list[Example]:
    """The sentences of some files of a set, numbered through."""
    examples: list[Example] = []
    for file in files:
        path = folder / file
        if not path.is_file():
            raise UniversalNERError(Errors.U080.format(path=path, name=dataset.name, file=file))
        before = len(examples)
        for rows in read_sentences(path, dataset):
            examples.append(_make_example(f"{prefix}-{len(examples)}", rows, dataset))
        if len(examples) == before:
            raise UniversalNERError(Errors.U004.format(path=path, kind="sentence", hint="Fetch it again."))
    return examples


def _read_row(line: str, number: int, path: Path, dataset: DataSet) -> Token:
    token, tag = _read_cells(line, number, path, dataset.columns)
    prefix, _, name = tag.partition("-")
    if tag != "O" and (prefix not in ("B", "I") or name not in dataset.labels):
        raise UniversalNERError(
            Errors.U082.format(path=path, line=number, tag=tag, name=dataset.name, known=", ".join(dataset.labels))
        )
    return token, tag


def _read_cells(line: str, number: int, path: Path, form: Columns) -> Token:
    cells = line.rstrip("\r\n").split(form.separator)
    if len(cells) != form.count:
        raise UniversalNERError(
            Errors.U081.format(path=path, line=number, expected=form.count, format=form.name, got=line.rstrip("\r\n"))
        )
    return cells[form.token].strip(), cells[form.tag].strip()


def _make_example(id_: str, rows: Sequence[Token], dataset: DataSet) -> Example:
    tokens, tags = zip(*rows, strict=True)
    starts = list(accumulate((len(token) + 1 for token in tokens), initial=0))
    spans = {
        (starts[first], starts[stop] - 1, label)
        for first, stop, name in _find_runs(tags)
        if (label := dataset.labels[name])
    }
    return Example(id_, " ".join(tokens), dataset.types, frozenset(spans))


def _find_runs(tags: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Yield (first token, token after the last, tag without prefix) of each entity; one may start with I- (IOB1)."""
    first, current = 0, ""
    for i, tag in enumerate([*tags, "O"]):
        prefix, _, name = tag.partition("-")
        if current and (prefix != "I" or name != current):
            yield first, i, current
            current = ""
        if name and not current:
            first, current = i, name
