"""From facts to Markdown with a YAML header, as the hub reads it."""

import json
import re
from functools import partial
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(template: str, /, **facts: Any) -> str:
    """Fill in one of the templates of this package. A fact that is missing is an error, never an empty place."""
    loader = PackageLoader("spacy_universalner", "templates")
    env = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    env.filters.update(code=code, cell=cell, quote=partial(json.dumps, ensure_ascii=False))
    return env.get_template(template).render(**facts).rstrip() + "\n"


def code(text: str) -> str:
    """A text as Markdown code, on one line, whatever is in it."""
    text = " ".join(str(text).split())
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    return f"{fence} {text} {fence}" if len(fence) > 1 else f"`{text}`"


def cell(value: Any) -> str:
    """A value in a table, on one line; what is not there was not measured."""
    return "not measured" if value is None else " ".join(str(value).split()).replace("|", "\\|")
