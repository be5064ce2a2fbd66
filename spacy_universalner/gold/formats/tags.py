"""From tags of tokens to entities: BIO, IOB1, IOBES and BILOU, mixed as they come, and tags without prefixes."""

from collections.abc import Iterator, Sequence
from typing import Literal

from ...errors import Errors, UniversalNERError
from .sentence import Span

Scheme = Literal["bio", "io"]
OUTSIDE = "O"
BEGIN = frozenset("BSU")
END = frozenset("ELSU")
PREFIXES = BEGIN | END | frozenset("IM")


def find_runs(tags: Sequence[str], *, scheme: Scheme = "bio", where: str = "") -> Iterator[Span]:
    """The entities that tags spell: B, S or U begins one, E, L, S or U ends one, and so does a tag of another type.

    tags (Sequence[str]): a tag a token.
    scheme (str): "bio" for tags with prefixes; "io" for tags without, where equal neighbours are one entity.
    where (str): their place among the files, for messages.
    YIELDS (tuple): first token, token after the last, and tag without its prefix.
    RAISES (UniversalNERError): a tag that is neither O nor a prefix and a type.
    """
    first, current = 0, ""
    for i, tag in enumerate(tags):
        prefix, name = ("I", tag) if scheme == "io" else _split(tag, where)
        if tag == OUTSIDE:
            prefix = name = ""
        if current and (name != current or prefix in BEGIN):
            yield first, i, current
            current = ""
        if name and not current:
            first, current = i, name
        if current and prefix in END:
            yield first, i + 1, current
            current = ""
    if current:
        yield first, len(tags), current


def _split(tag: str, where: str) -> tuple[str, str]:
    prefix, _, name = tag.partition("-")
    if tag != OUTSIDE and (prefix not in PREFIXES or not name):
        raise UniversalNERError(Errors.U221.format(where=where, tag=tag))
    return prefix, name
