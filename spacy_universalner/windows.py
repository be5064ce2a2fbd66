"""Asking about texts of any length: in windows that overlap, whose answers are merged into one for each text."""

from collections.abc import Iterator, Sequence
from itertools import islice

from .align import find_mentions
from .chunking import CHARS_PER_TOKEN, chunk
from .errors import Errors, UniversalNERError
from .records import Prediction
from .registry import Answer, Engine

WINDOWS_AT_ONCE = 1024
BYTES_PER_CHAR = 4  # at most
Span = tuple[int, int]


def ask(
    engine: Engine,
    texts: Sequence[str],
    types: Sequence[Sequence[str]],
    *,
    max_tokens: int,
    overlap: int,
    first: bool = False,
) -> list[list[Prediction]]:
    """Ask about texts, each in as many windows as it needs.

    engine (Engine): what answers the questions.
    texts (Sequence[str]): the texts.
    types (Sequence[Sequence[str]]): the entity types asked of each text.
    max_tokens (int): longest window, in words and punctuation marks.
    overlap (int): tokens of a window that the next one may repeat (see `chunk`).
    first (bool): take a mention to stand at the first place in its window only.
    RETURNS (list): for each text, one prediction per type, with offsets in the text.
    RAISES (UniversalNERError): max_tokens is below 1, overlap is below 0.
    """
    windows = [list(cut_windows(text, max_tokens, overlap)) for text in texts]
    found: list[list[list[Prediction]]] = [[[] for _ in names] for names in types]
    asked = ((number, start, end) for number, spans in enumerate(windows) for start, end in spans)
    while some := list(islice(asked, WINDOWS_AT_ONCE)):
        passages = [texts[number][start:end] for number, start, end in some]
        wanted = [types[number] for number, _, _ in some]
        answers = engine.extract(passages, wanted)
        _check_counts(answers, wanted)
        for (number, start, _), passage, answered in zip(some, passages, answers, strict=True):
            for parts, name, answer in zip(found[number], types[number], answered, strict=True):
                parts.append(place_answer(name, answer, passage, start, first=first))
    return [
        [merge(name, spans, parts) for name, parts in zip(names, of_text, strict=True)]
        for names, spans, of_text in zip(types, windows, found, strict=True)
    ]


def _check_counts(answers: Sequence[Sequence[Answer]], types: Sequence[Sequence[str]]) -> None:
    """RAISES (UniversalNERError): an engine has not answered each question about each passage."""
    if len(answers) != len(types):
        raise UniversalNERError(Errors.U189.format(got=len(answers), of="passages", expected=len(types)))
    for said, asked in zip(answers, types, strict=True):
        if len(said) != len(asked):
            raise UniversalNERError(Errors.U189.format(got=len(said), of="types", expected=len(asked)))


def cut_windows(text: str, max_tokens: int, overlap: int) -> Iterator[Span]:
    """The windows of a text: pieces of so many words, and of so many bytes as these have in English, or fewer.

    Tokenizers spell what they do not know in bytes, so that a window of any script fits where one of English does.
    """
    room = CHARS_PER_TOKEN * max_tokens
    for start, end in chunk(text, max_tokens, overlap=overlap):
        piece = text[start:end]
        if len(piece.encode("utf8", "surrogatepass")) <= room:
            yield start, end
        else:
            narrow = chunk(piece, max_tokens, max_chars=max(1, room // BYTES_PER_CHAR), overlap=overlap)
            yield from ((start + first, start + last) for first, last in narrow)


def place_answer(name: str, answer: Answer, passage: str, offset: int = 0, *, first: bool = False) -> Prediction:
    """Find the mentions of an answer in its passage.

    offset (int): where the passage begins in its text.
    first (bool): take the first place of each mention only.
    RETURNS (Prediction): with offsets in the text; a span that two mentions name has the higher score.
    """
    found = {mention: find_mentions(passage, mention)[: 1 if first else None] for mention in answer.mentions}
    scored: dict[Span, float] = {}
    for mention, score in zip(answer.mentions, answer.scores or (0.0,) * len(answer.mentions), strict=True):
        for start, end in found[mention]:
            span = (start + offset, end + offset)
            scored[span] = max(score, scored.get(span, score))
    spans = tuple(sorted(scored))
    return Prediction(
        name,
        mentions=answer.mentions,
        spans=spans,
        lost=tuple(mention for mention, places in found.items() if not places),
        complete=answer.complete,
        scores=tuple(scored[span] for span in spans) if answer.scores else (),
    )


def merge(name: str, windows: Sequence[Span], parts: Sequence[Prediction]) -> Prediction:
    """One prediction from those of a text's windows.

    A span found in two windows is one, with the higher score. One that ends where its window is cut, so that it may be
    a part of a name, gives way to a longer one around it that the next window holds. A mention is lost if no window
    holds it: each is answered of its own window, and one of them can name what stands in the other.

    windows (Sequence): (start, end) offsets of each window, in order.
    parts (Sequence): the prediction of each, with offsets in the text.
    """
    scored: dict[Span, float] = {}
    for number, part in enumerate(parts):
        for span, score in zip(part.spans, part.scores or (0.0,) * len(part.spans), strict=True):
            if not _is_cut(span, number, windows, parts):
                scored[span] = max(score, scored.get(span, score))
    spans = tuple(sorted(scored))
    known = any(part.scores for part in parts)  # where one part has none, its spans are as unlikely as can be
    placed = {mention for part in parts for mention in set(part.mentions).difference(part.lost)}
    return Prediction(
        name,
        mentions=tuple(dict.fromkeys(mention for part in parts for mention in part.mentions)),
        spans=spans,
        lost=tuple(dict.fromkeys(mention for part in parts for mention in part.lost if mention not in placed)),
        complete=all(part.complete for part in parts),
        scores=tuple(scored[span] for span in spans) if known else (),
    )


def _is_cut(span: Span, number: int, windows: Sequence[Span], parts: Sequence[Prediction]) -> bool:
    """Whether a span ends where its window is cut off, and is a part of one in the window beyond."""
    start, end = span
    beyond = []
    if number and start == windows[number][0]:
        beyond += parts[number - 1].spans
    if number + 1 < len(parts) and end == windows[number][1]:
        beyond += parts[number + 1].spans
    return any(left <= start and end <= right and (left, right) != span for left, right in beyond)
