import pytest

from spacy_universalner.errors import UniversalNERError

from .published import read, write

TEXT = "Put the cell back.\nUse Matlab 6.\n"
# Annotations, the text, what is read, what is set aside.
BRAT = {
    "entities and the rest": (
        "T1\tTool 23 29\tMatlab\nT2\tVersion 30 31\t6\nR1\tVersion_of Arg1:T2 Arg2:T1\t\nE1\tUse\n#1\tNote T1\tno\n",
        TEXT,
        [("Matlab", "Tool"), ("6", "Version")],
        {},
    ),
    "nested and overlapping": (
        "T1\tA 19 29\tUse Matlab\nT2\tB 23 29\tMatlab\nT3\tC 23 31\tMatlab 6\n",
        TEXT,
        [("Use Matlab", "A"), ("Matlab", "B"), ("Matlab 6", "C")],
        {},
    ),
    "pieces with a word between": ("T1\tAction 0 3;13 17\tPut back\n", TEXT, [], {"discontinuous entities": 1}),
    "pieces on two lines": ("T1\tAction 13 18;19 22\tback. Use\n", TEXT, [("back.\nUse", "Action")], {}),
    "white space at the end": ("T1\tA 19 23\tUse \n", TEXT, [("Use", "A")], {}),
    "line ends of DOS that count": (
        "T1\tTool 24 30\tMatlab\r\n",
        TEXT.replace("\n", "\r\n"),
        [("Matlab", "Tool")],
        {},
    ),
    "line ends of DOS that do not": ("T1\tTool 23 29\tMatlab\n", TEXT.replace("\n", "\r\n"), [("Matlab", "Tool")], {}),
    "a byte order mark that counts": ("T1\tTool 24 30\tMatlab\n", "\ufeff" + TEXT, [("Matlab", "Tool")], {}),
    "a byte order mark that does not": ("T1\tTool 23 29\tMatlab\n", "\ufeff" + TEXT, [("Matlab", "Tool")], {}),
    "nothing": ("", TEXT, [], {}),
}


@pytest.mark.parametrize(("annotations", "text", "expected", "set_aside"), BRAT.values(), ids=BRAT)
def test_brat(tmp_path, annotations, text, expected, set_aside):
    write(tmp_path, {"p.ann": annotations, "p.txt": text})
    ((_, entities),), counts = read("brat", tmp_path / "p.ann")
    assert (entities, counts) == (expected, set_aside)


def test_brat_of_a_folder(tmp_path):
    write(
        tmp_path, {"b/p.ann": "T1\tA 0 1\tb", "b/p.txt": "b", "a.ann": "", "a.txt": "a", "bare.txt": "c", "x.conf": ""}
    )
    found, set_aside = read("brat", tmp_path)
    assert found == [("a", []), ("b", [("b", "A")])]
    assert set_aside == {"texts without annotations": 1}


BAD = {
    "another text": (
        "\nT1\tA 0 3\tput\nT2\tA 0 3\tcell",
        TEXT,
        r"U222.*p\.ann, line 3: entity 'A' from 0 to 3.*'Put', not 'cell'",
    ),
    "behind the end": ("T1\tA 30 99\t6", TEXT, r"U222.*p\.ann, line 1.*33 characters"),
    "a piece that does not fit": ("T1\tA 0 3;13 17\tPut cell", TEXT, r"U222.*p\.ann, line 1.*'Put back', not"),
    "a damaged line": ("T1\tA 0\tPut", TEXT, r"U220.*p\.ann, line 1.*TYPE START END"),
    "no text": ("T1\tA 0 3\tPut", None, r"U223.*p\.ann.*p\.txt"),
}


@pytest.mark.parametrize(("annotations", "text", "message"), BAD.values(), ids=BAD)
def test_bad_brat_is_an_error(tmp_path, annotations, text, message):
    write(tmp_path, {"p.ann": annotations, **({} if text is None else {"p.txt": text})})
    with pytest.raises(UniversalNERError, match=message):
        read("brat", tmp_path)


def test_a_folder_without_files_of_the_format_is_an_error(tmp_path):
    with pytest.raises(UniversalNERError, match="U004.*ends in .con"):
        read("i2b2-concepts", tmp_path)


NOTE = "No acute distress.\nAbdominal pain, and fever of the chest.\n"
ROWS = {
    "two pipes": "n.txt||Disease_Disorder||C0000737||19||33\nn.txt||Disease_Disorder||CUI-less||39||44||52||57\n",
    "one pipe": "n.txt|19-33|C0000737|*NULL|no\nn.txt|39-44,52-57|CUI-less|*NULL|no\n",
}


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_pipes(tmp_path, rows):
    write(tmp_path, {"pipes/n.pipe.txt": rows, "texts/n.txt": NOTE})
    found, set_aside = read("pipes", tmp_path / "pipes", texts=["../texts"])
    assert found == [(NOTE, [("Abdominal pain", "Disease_Disorder")])]
    assert set_aside == {"discontinuous entities": 1}


@pytest.mark.parametrize("row", ["n.txt||Disease||C1||x||3", "n.txt||D||C1||3", "n.txt|oops|C1", "n.txt"])
def test_bad_pipes_are_errors(tmp_path, row):
    write(tmp_path, {"n.pipe": row, "n.txt": NOTE})
    with pytest.raises(UniversalNERError, match=r"U220.*n\.pipe, line 1"):
        read("pipes", tmp_path)
