import pytest

from spacy_universalner.progress import show_progress, track


@pytest.mark.parametrize(("every", "lines"), [(1000.0, ["3"]), (0.0, ["2", "3", "3"])])
def test_without_a_total_the_count_is_shown_and_the_last_one_at_the_end(capsys, every, lines):
    with show_progress(None, "sample", every=every) as update:
        for count in (2, 1):
            update(count)
    written = capsys.readouterr().err
    assert [line.split()[1] for line in written.splitlines()] == lines
    assert "texts/s" in written and "?" not in written


def test_items_are_tracked(capsys):
    assert list(track("abc", "sample")) == list("abc")
    assert capsys.readouterr().err.startswith("sample: 3 [")


def test_nothing_is_shown_without_a_name(capsys):
    assert list(track("abc", None)) == list("abc")
    assert capsys.readouterr() == ("", "")
