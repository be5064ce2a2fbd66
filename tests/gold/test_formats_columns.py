import pytest

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.gold.formats import READERS, SetAside
from spacy_universalner.gold.formats.tags import find_runs

from .published import read, write

ADA = [("Ada Bee left", [("Ada Bee", "per")])]
# Options, the file, and what is read.
COLUMNS = {
    "token and tag": ({}, "Ada\tB-per\nBee\tI-per\nleft\tO\n\n", ADA),
    "tag and token": ({"token": 1, "tag": 0}, "B-per\tAda\nI-per\tBee\nO\tleft\n", ADA),
    "the last column": ({"tag": -1, "separator": " "}, "Ada N O B-per\nBee N I-per\nleft V O O", ADA),
    "any white space": ({"separator": None, "count": 2}, "Ada  B-per\nBee\tI-per \nleft \t O", ADA),
    "line ends of DOS": ({}, "Ada\tB-per\r\nBee\tI-per\r\nleft\tO\r\n\r\n", ADA),
    "a byte order mark": ({}, "\ufeffAda\tB-per\nBee\tI-per\nleft\tO\n", ADA),
    "marks of documents": ({}, "-DOCSTART-\tO\n\nAda\tB-per\nBee\tI-per\nleft\tO\n-DOCSTART- -X-\n", ADA),
    "a mark of a document parts sentences": (
        {},
        "Ada\tB-per\n-DOCSTART-\tO\nBee\tI-per\n",
        [("Ada", [("Ada", "per")]), ("Bee", [("Bee", "per")])],
    ),
    "documents, whole": (
        {"documents": True},
        "-DOCSTART-\tO\n\nAda\tB-per\n\nleft\tO\n\n-DOCSTART-\tO\n\nBee\tB-per\n",
        [("Ada left", [("Ada", "per")]), ("Bee", [("Bee", "per")])],
    ),
    "blank lines that are not empty": ({}, "Ada\tO\n\t\n \nBee\tO\n", [("Ada", []), ("Bee", [])]),
    "separators of lines inside a token": (
        {},
        "x\u2028y\x85z\tB-per\n",
        [("x\u2028y\x85z", [("x\u2028y\x85z", "per")])],
    ),
    "nested entities in columns of their own": (
        {"tag": [1, 2]},
        "IL-2\tB-gene\tB-other\ngene\tI-gene\tI-other\nboost\tO\tI-other\n",
        [("IL-2 gene boost", [("IL-2 gene", "gene"), ("IL-2 gene boost", "other")])],
    ),
    "tags without prefixes": (
        {"scheme": "io"},
        "New\tloc\nYork\tloc\nAda\tper\nleft\tO\n",
        [("New York Ada left", [("New York", "loc"), ("Ada", "per")])],
    ),
    "a hyphen in a type": ({}, "Q7\tB-vehicle_type-suv\n", [("Q7", [("Q7", "vehicle_type-suv")])]),
}


@pytest.mark.parametrize(("options", "content", "expected"), COLUMNS.values(), ids=COLUMNS)
def test_column_files(tmp_path, options, content, expected):
    write(tmp_path, {"a.txt": content})
    assert read("columns", tmp_path / "a.txt", **options) == (expected, {})


# Tags of the tokens a b c d, and the entities they spell.
TAGS = {
    "nothing": ("O O O O", []),
    "IOB1": ("I-x I-x O I-x", ["0-2 x", "3-4 x"]),
    "IOB1, neighbours of one type": ("I-x I-x B-x O", ["0-2 x", "2-3 x"]),
    "BIO": ("B-x B-x I-x O", ["0-1 x", "1-3 x"]),
    "another type after I": ("B-x I-y I-y O", ["0-1 x", "1-3 y"]),
    "IOBES": ("B-x E-x S-x S-x", ["0-2 x", "2-3 x", "3-4 x"]),
    "BILOU": ("U-x B-x I-x L-x", ["0-1 x", "1-4 x"]),
    "an end without a beginning": ("E-x O L-x I-x", ["0-1 x", "2-3 x", "3-4 x"]),
    "BIO with the ends of IOBES": ("B-x E-x B-x I-x", ["0-2 x", "2-4 x"]),
}


@pytest.mark.parametrize(("tags", "expected"), TAGS.values(), ids=TAGS)
def test_prefixes_as_they_come(tags, expected):
    assert [f"{first}-{stop} {name}" for first, stop, name in find_runs(tags.split())] == expected


# Lines, what is left of them, and the counts of the rest.
INVISIBLE = {
    "blank tokens": ("\tO\n \tO\nAda\tB-x\n\u00a0\tI-x\nBee\tI-x\n", [("Ada Bee", [("Ada Bee", "x")])], 3, 0),
    "format characters": ("\u200b\tO\n\u200e\ufeff\tO\nAda\tB-x\n", [("Ada", [("Ada", "x")])], 2, 0),
    "an entity of nothing else": ("\u200d\tB-x\nAda\tO\n", [("Ada", [])], 1, 1),
    "white space at a token's edge": ("\U0001f496 \tO\nAda\u00a0\tB-x\n", [("\U0001f496 Ada", [("Ada", "x")])], 0, 0),
    "a joined emoji": (
        "\U0001f468\u200d\U0001f469\tB-x\n",
        [("\U0001f468\u200d\U0001f469", [("\U0001f468\u200d\U0001f469", "x")])],
        0,
        0,
    ),
}


@pytest.mark.parametrize(("content", "expected", "tokens", "entities"), INVISIBLE.values(), ids=INVISIBLE)
def test_what_cannot_be_seen_is_left_out_and_counted(tmp_path, content, expected, tokens, entities):
    write(tmp_path, {"a.txt": content})
    counts = {"tokens that cannot be seen": tokens, "entities that cannot be seen": entities}
    assert read("columns", tmp_path / "a.txt") == (expected, {name: n for name, n in counts.items() if n})


def test_a_sentence_that_cannot_be_seen_is_counted(tmp_path):
    write(tmp_path, {"a.txt": "\tO\n\nAda\tO\n"})
    set_aside = {"tokens that cannot be seen": 1, "sentences without visible text": 1}
    assert read("columns", tmp_path / "a.txt", count=2) == ([("Ada", [])], set_aside)


def test_sentences_to_be_skipped_are_counted(tmp_path):
    blocks = ["Question_ID\tO\n:\tO\n12\tO\n", "I\tO\nuse\tO\nListView\tB-Class\n", "CODE_BLOCK\tB-Code\n:\tI-Code\n"]
    write(tmp_path, {"a.txt": "\t\n".join(blocks)})
    found = read("columns", tmp_path / "a.txt", skip="Question_ID :|CODE_BLOCK :")
    assert found == ([("I use ListView", [("ListView", "Class")])], {"sentences skipped": 2})


# Options, the file, and the message.
BAD = {
    "too few columns": ({}, b"Ada\tB-x\nBee\n", r"U081.*a\.txt, line 2: expected 2 or more"),
    "too many columns": ({"count": 2}, b"\nAda\tB-x\tO\n", r"U081.*a\.txt, line 2: expected 2 "),
    "a tag without a prefix": ({}, b"Ada\tO\n\nBee\tx\n", r"U221.*a\.txt, line 3: tag 'x'.*scheme = .io."),
    "a tag without a type": ({}, b"Ada\tB-\n", r"U221.*a\.txt, line 1: tag 'B-'"),
    "an unknown prefix": ({}, b"Ada\tX-y\n", r"U221.*a\.txt, line 1: tag 'X-y'"),
    "another encoding": ({}, b"Ad\xe9\tO\n", r"U100.*a\.txt"),
}


@pytest.mark.parametrize(("options", "content", "message"), BAD.values(), ids=BAD)
def test_bad_column_files_are_errors(tmp_path, options, content, message):
    write(tmp_path, {"a.txt": content})
    with pytest.raises(UniversalNERError, match=message):
        read("columns", tmp_path / "a.txt", **options)


FULL = """# sent_id = s1
# text = Ada Bee doesn't
1\tAda\t_\tPROPN\t_\t_\t0\troot\t_\tNER=B-per
2\tBee\t_\tPROPN\t_\t_\t1\tflat\t_\tNER=I-per|SpaceAfter=Yes
3-4\tdoesn't\t_\t_\t_\t_\t_\t_\t_\t_
3\tdoes\t_\tAUX\t_\t_\t1\taux\t_\t_
4\tn't\t_\tPART\t_\t_\t1\tadvmod\t_\tNER=O
4.1\tgone\t_\tVERB\t_\t_\t_\t_\t_\tNER=B-per
"""
CONLLU = {
    "a key of MISC": ({"tag": "NER"}, FULL, [("Ada Bee does n't", [("Ada Bee", "per")])]),
    "three columns": (
        {},
        "0\tOn\tO\n1\tSouth\tB-ORG\n2\tWales\tI-ORG\n",
        [("On South Wales", [("South Wales", "ORG")])],
    ),
    "a token that is a hash": ({}, "0\t#\tO\n1\tAda\tB-PER\n", [("# Ada", [("Ada", "PER")])]),
}


@pytest.mark.parametrize(("options", "content", "expected"), CONLLU.values(), ids=CONLLU)
def test_conllu_files(tmp_path, options, content, expected):
    write(tmp_path, {"a.conllu": content})
    assert read("conllu", tmp_path / "a.conllu", **options) == (expected, {})


def test_sentences_of_conllu_keep_their_names(tmp_path):
    write(tmp_path, {"a.conllu": FULL})
    (sentence,) = READERS["conllu"](tmp_path / "a.conllu", SetAside(), tag="NER")
    assert (sentence.id, sentence.where) == ("s1", f"{tmp_path / 'a.conllu'}, line 1")
