"""The card of an exported data set: what it is, who said it, how it was made, and under what licence it may be used."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..about import __version__
from ..corpus.origin import EMBEDDED_TERMS, Origin
from ..corpus.released import Contents
from ..errors import Errors, UniversalNERError
from ..prompts import TEACHER_PROMPTS
from ..records import sha256_file
from .markdown import render

TERMS = re.compile(r"[a-z0-9][a-z0-9.+-]*")
SIZES = (1000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M")
"""The hub's names for numbers of rows below a bound."""


def choose_terms(license: str, language: str, *, embedded: bool) -> tuple[str, str]:
    """The licence and the language a card names. What is not known is never assumed.

    license (str): the licence named by the user, as the hub spells it (cc-by-4.0, other); "" for none.
    language (str): the language named by the user, as a code (en); "" for none.
    embedded (bool): whether all data are part of the project, whose licence and language are known.
    RETURNS (tuple): licence and language.
    RAISES (UniversalNERError): one is not known, or is no identifier.
    """
    named = (license.lower(), language.lower())
    terms = tuple(name or (known if embedded else "") for name, known in zip(named, EMBEDDED_TERMS, strict=True))
    if not all(terms):
        raise UniversalNERError(Errors.U123.format(license=license, language=language))
    for name in terms:
        if not TERMS.fullmatch(name):
            raise UniversalNERError(Errors.U125.format(got=name))
    return terms


def check_same_run(parts: Mapping[str, Contents], source: Origin, filtered: Mapping[str, Any]) -> None:
    """Hold the counts of the stages against each other, so that no card tells of another run's data.

    RAISES (UniversalNERError): they differ.
    """
    conversations = sum(part.tally.conversations for part in parts.values())
    if (source.replies, conversations) != (filtered["replies"], filtered["records"]):
        got = f"{source.replies} replies and {conversations} conversations"
        expected = f"{filtered['replies']} replies and {filtered['records']} records"
        raise UniversalNERError(Errors.U124.format(got=got, expected=expected))


def render_card(
    *,
    name: str,
    license: str,
    language: str,
    embedded: bool,
    parts: Mapping[str, Contents],
    source: Origin,
    filtered: Mapping[str, Any],
    files: Mapping[str, Path],
) -> str:
    """The card of a data set as the hub reads it.

    name (str): its name.
    license (str): the licence it names.
    language (str): the language it names.
    embedded (bool): whether all data are part of the project.
    parts (Mapping): counts of each part, by name.
    source (Origin): teachers and prompts.
    filtered (Mapping): the filter's report.
    files (Mapping): the file of each part, written.
    RETURNS (str): Markdown with a YAML header.
    """
    known = {prompt.sha: prompt.name for prompt in TEACHER_PROMPTS.values()}
    rows = sum(part.tally.conversations for part in parts.values())
    return render(
        "dataset_card.md.jinja",
        name=name,
        version=__version__,
        license=license,
        language=language,
        embedded=embedded,
        size=next((size for bound, size in SIZES if rows < bound), "n>10M"),
        parts=parts,
        types=len(set().union(*(part.types for part in parts.values()))),
        models=source.models.most_common(),
        prompts=[(known.get(sha, "unknown"), sha, count) for sha, count in source.prompts.most_common()],
        filtered=filtered,
        rejected=[(reason, count) for reason, count in filtered["rejected"].items() if count],
        files=[(part, path.name, path.stat().st_size, sha256_file(path)) for part, path in files.items()],
    )
