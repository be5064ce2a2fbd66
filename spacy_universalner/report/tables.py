"""Tables and their cells, as text."""

import re
from dataclasses import dataclass

Cell = str | int | float | None


class Estimate(float):
    """A number with the interval that it was estimated to lie in.

    low, high (float): the ends of the interval.
    """

    low: float
    high: float

    def __new__(cls, value: float, low: float, high: float) -> "Estimate":
        self = super().__new__(cls, value)
        self.low, self.high = low, high
        return self


@dataclass(frozen=True)
class Table:
    """Rows under a header; a column without a text in it is set as numbers.

    title (str): what the rows are.
    header (tuple): the columns' names.
    rows (list): one tuple of cells a row; None is shown as a dash.
    note (str): what a reader must know to read the numbers.
    """

    title: str
    header: tuple[str, ...]
    rows: list[tuple[Cell, ...]]
    note: str = ""

    @property
    def numeric(self) -> list[bool]:
        columns = ([row[i] for row in self.rows] for i in range(len(self.header)))
        return [bool(self.rows) and not any(isinstance(cell, str) for cell in column) for column in columns]


def format_markdown(table: Table) -> str:
    """A table as Markdown, under its title and above its note."""
    rule = ["---:" if numeric else ":---" for numeric in table.numeric]
    header = map(_escape_markdown, table.header)
    rows = [header, rule, *([_escape_markdown(format_cell(cell)) for cell in row] for row in table.rows)]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return "\n\n".join(filter(None, (f"## {table.title}", lines, table.note and _escape_markdown(table.note))))


def format_cell(cell: Cell) -> str:
    """A cell as text: thousands set apart, one decimal (two where it would read 0.0), a dash for None."""
    if cell is None:
        return "–"
    if isinstance(cell, Estimate):
        between = " to " if cell.low < 0 else "–"
        return f"{format_cell(float(cell))} ({cell.low:.1f}{between}{cell.high:.1f})"
    if isinstance(cell, float):
        return f"{cell:,.1f}" if cell == 0 or abs(cell) >= 0.1 else f"{cell:,.2f}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def format_duration(seconds: float) -> str:
    """Seconds as a person says them."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{seconds:.1f} s"
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min {rest:02} s"


def percent(part: int, total: int, digits: int = 1) -> float | None:
    """A share of a hundred, None of nothing."""
    return round(100 * part / total, digits) if total else None


def _escape_markdown(text: str) -> str:
    return re.sub(r"([\\`|<\[])", r"\\\1", " ".join(text.split()))
