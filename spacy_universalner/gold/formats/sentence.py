"""What every format is read into: a text with its entities, at exact offsets and under the tags of its files."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path

from ...errors import Errors, UniversalNERError

Span = tuple[int, int, str]
SetAside = Counter[str]
"""What a reader could not use, counted by reason."""
INVISIBLE = ("Cc", "Cf")
QUOTES = str.maketrans('"`´‘’“”', "'''''''")


@dataclass(frozen=True)
class Sentence:
    """A sentence, or a document, as it is published.

    text (str): its text; of tokens, one space between two of them.
    spans (tuple): (start, end, tag) of its entities as character offsets, sorted, each once; they may be nested.
    id (str): what its publishers call it; "" where it has no name.
    where (str): its place among the files, for messages.
    """

    text: str
    spans: tuple[Span, ...]
    id: str = ""
    where: str = ""


@dataclass(frozen=True)
class Entity:
    """An annotation that names a piece of a text by offsets.

    start, end (int): the offsets of its first character and of the one after the last.
    tag (str): its tag.
    surface (str): the text it claims to mark; None where it claims nothing.
    where (str): its place among the files, for messages.
    gaps (tuple): (start, end) of what is between its pieces, where it has several.
    """

    start: int
    end: int
    tag: str
    surface: str | None
    where: str
    gaps: tuple[tuple[int, int], ...] = ()


def of_pieces(pieces: Iterable[tuple[int, int]], tag: str, surface: str | None, where: str) -> Entity:
    """An entity of one or several pieces, (start, end) each."""
    ordered = sorted(pieces)
    gaps = tuple((end, start) for (_, end), (start, _) in pairwise(ordered) if end < start)
    return Entity(ordered[0][0], max(end for _, end in ordered), tag, surface, where, gaps)


def place(path: Path, line: int) -> str:
    """A line of a file, for messages."""
    return f"{path}, line {line}"


def is_visible(token: str) -> bool:
    """Whether there is more to a token than white space and format characters."""
    if token.isprintable():
        return bool(token.strip())
    return any(not char.isspace() and unicodedata.category(char) not in INVISIBLE for char in token)


def from_tokens(
    tokens: Sequence[str], runs: Iterable[Span], set_aside: SetAside, *, id: str = "", where: str = ""
) -> Sentence:
    """A sentence of tokens; those that cannot be seen are left out.

    tokens (Sequence[str]): the tokens.
    runs (Iterable): (first token, token after the last, tag) of the entities.
    set_aside (Counter): counts what is left out.
    """
    starts: dict[int, int] = {}
    ends: dict[int, int] = {}
    words: list[str] = []
    offset = 0
    for i, token in enumerate(tokens):
        if not is_visible(token):
            set_aside["tokens that cannot be seen"] += 1
            continue
        words.append(token.strip().strip("\ufeff").strip())
        starts[i], ends[i] = offset, offset + len(words[-1])
        offset = ends[i] + 1
    spans = []
    for first, stop, tag in runs:
        seen = [i for i in range(first, stop) if i in starts]
        if seen:
            spans.append((starts[seen[0]], ends[seen[-1]], tag))
        else:
            set_aside["entities that cannot be seen"] += 1
    return Sentence(" ".join(words), _unique(spans, set_aside), id, where)


def from_text(
    texts: str | Sequence[str], entities: Sequence[Entity], set_aside: SetAside, *, id: str = "", where: str = ""
) -> Sentence:
    """A text with entities that name pieces of it; white space at their ends is not theirs.

    An entity in several pieces is whole where only white space parts them, and set aside where there is more.

    texts (str | Sequence[str]): the text, or what it may be where line ends or a byte order mark may be counted or
        not: the first that all entities fit is taken.
    entities (Sequence): the entities.
    set_aside (Counter): counts what is left out.
    RAISES (UniversalNERError): an entity that does not fit the (first) text.
    """
    texts = [texts] if isinstance(texts, str) else texts
    text = next((text for text in texts if not any(_misfit(text, entity) for entity in entities)), None)
    if text is None:
        entity, reason = next((e, reason) for e in entities if (reason := _misfit(texts[0], e)))
        about = {"tag": entity.tag, "start": entity.start, "end": entity.end}
        raise UniversalNERError(Errors.U222.format(where=entity.where, reason=reason, **about))
    spans = []
    for entity in entities:
        start, end = trim(text, entity.start, entity.end)
        if any(text[first:last].strip() for first, last in entity.gaps):
            set_aside["discontinuous entities"] += 1
        elif start < end:
            spans.append((start, end, entity.tag))
        else:
            set_aside["entities that cannot be seen"] += 1
    return Sentence(text, _unique(spans, set_aside), id, where)


def visible(sentence: Sentence, set_aside: SetAside) -> list[Sentence]:
    """The sentence, if there is more to it than white space; otherwise none, which is counted."""
    if sentence.text.strip():
        return [sentence]
    set_aside["sentences without visible text"] += 1
    return []


def trim(text: str, start: int, end: int) -> tuple[int, int]:
    """Offsets of a piece of a text without the white space at its ends."""
    piece = text[start:end].rstrip()
    return start + len(piece) - len(piece.lstrip()), start + len(piece)


def as_published(path: Path) -> list[str]:
    """A text file as it stands and, where that makes a difference, without its byte order mark and with bare line ends.

    RAISES (UniversalNERError): no such file, or it is not UTF-8.
    """
    text = read_text(path)
    bare = text.removeprefix("\ufeff")
    return list(dict.fromkeys((bare, text, bare.replace("\r\n", "\n"), text.replace("\r\n", "\n"))))


def read_text(path: Path) -> str:
    """A text file with its line ends as they stand.

    RAISES (UniversalNERError): no such file, or it is not UTF-8.
    """
    if not path.is_file():
        raise UniversalNERError(Errors.U001.format(path=path, hint="It belongs to a data set: fetch that again."))
    try:
        return path.read_bytes().decode("utf8")
    except UnicodeDecodeError as err:
        raise UniversalNERError(Errors.U100.format(path=path, reason=err)) from err


def list_files(path: Path, *endings: str) -> list[Path]:
    """The files of a folder, and of those in it, that end so, in order; or the file that is named.

    RAISES (UniversalNERError): there is none.
    """
    files = sorted(f for f in path.rglob("*") if f.name.endswith(endings)) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        kind = f"file that ends in {' or '.join(endings)}"
        raise UniversalNERError(Errors.U004.format(path=path, kind=kind, hint="Fetch the data set again."))
    return files


def find_beside(path: Path, name: str, folders: Sequence[str]) -> Path:
    """A file that belongs to another one.

    path (Path): the other one.
    name (str): its name.
    folders (Sequence[str]): where it may stand, as seen from the folder of the other one.
    RAISES (UniversalNERError): it stands nowhere.
    """
    places = [path.parent / folder / name for folder in folders]
    for candidate in places if Path(name).name == name else ():  # a name comes from a file: it leads nowhere else
        if candidate.is_file():
            return candidate
    raise UniversalNERError(Errors.U223.format(path=path, looked=", ".join(map(str, places))))


def _misfit(text: str, entity: Entity) -> str:
    """Why an entity does not fit a text; "" where it does."""
    if not 0 <= entity.start <= entity.end <= len(text):
        return f"the text has {len(text)} characters"
    edges = [entity.start, *chain.from_iterable(entity.gaps), entity.end]
    marked = " ".join(text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True))
    if entity.surface is not None and _fold(marked) != _fold(entity.surface):
        return f"there stands {marked!r:.80}, not {entity.surface!r:.80}"
    return ""


def _fold(text: str) -> str:
    """A text in which only what annotation files leave out or write in another way is the same for all."""
    return "".join(text.translate(QUOTES).split()).casefold()


def _unique(spans: list[Span], set_aside: SetAside) -> tuple[Span, ...]:
    once = sorted(set(spans))
    if len(once) < len(spans):
        set_aside["entities annotated twice"] += len(spans) - len(once)
    return tuple(once)
