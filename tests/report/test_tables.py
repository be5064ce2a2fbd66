import pytest

from spacy_universalner.report import tables


def test_markdown_table_aligns_numbers_and_escapes_bars():
    table = tables.Table("T", ("type", "n"), [("a|b\nc", 1200), ("d", None)], "note")
    assert tables.format_markdown(table) == (
        "## T\n\n| type | n |\n| :--- | ---: |\n| a\\|b c | 1,200 |\n| d | – |\n\nnote"
    )


@pytest.mark.parametrize(
    "cell, text",
    [
        (None, "–"),
        ("x", "x"),
        (12345, "12,345"),
        (0.0, "0.0"),
        (0.04, "0.04"),
        (61.25, "61.2"),
        (1234.5, "1,234.5"),
        (tables.Estimate(31.26, 28, 34.04), "31.3 (28.0–34.0)"),
        (tables.Estimate(-3.2, -6.1, -0.4), "-3.2 (-6.1 to -0.4)"),
    ],
)
def test_cells(cell, text):
    assert tables.format_cell(cell) == text


@pytest.mark.parametrize(
    "seconds, text", [(0, "0.0 s"), (59.94, "1 min 00 s"), (12.34, "12.3 s"), (3725, "1 h 02 min")]
)
def test_durations(seconds, text):
    assert tables.format_duration(seconds) == text


def test_names_of_columns_are_escaped():
    assert tables.format_markdown(tables.Table("T", ("a|b",), [])).splitlines()[2] == "| a\\|b |"
