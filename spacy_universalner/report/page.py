"""Pages that need nothing but themselves: no style, font, picture or script from elsewhere."""

from typing import Any

from jinja2 import Environment, PackageLoader

from .tables import format_cell


def render(template: str, **values: Any) -> str:
    """A page from one of the package's templates. RETURNS (str): HTML, with every value escaped that is no Markup."""
    loader = PackageLoader("spacy_universalner", "templates")
    env = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    env.filters["cell"] = format_cell
    return env.get_template(template).render(**values)
