import pytest

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.gold.formats import READERS, SetAside

from .published import read, write

NOTE = "HISTORY :\nHe had  severe chest pain , and\nfever , given Aspirin .\n\n"
CONCEPTS = 'c="severe chest pain" 2:2 2:4||t="problem"\nc="aspirin" 3:3 3:3||t="treatment"\n'
LAYOUTS = {
    "train": ("concept/n.con", "txt/n.txt"),
    "test": ("ref/concepts/n.con", "test_data/n.txt"),
    "one": ("n.con", "n.txt"),
}


@pytest.mark.parametrize(("concepts", "text"), LAYOUTS.values(), ids=LAYOUTS)
def test_concepts_are_found_by_line_and_token(tmp_path, concepts, text):
    write(tmp_path, {concepts: CONCEPTS, text: NOTE})
    assert read("i2b2-concepts", (tmp_path / concepts).parent) == (
        [
            ("HISTORY :", []),
            ("He had  severe chest pain , and", [("severe chest pain", "problem")]),
            ("fever , given Aspirin .", [("Aspirin", "treatment")]),
        ],
        {},
    )


def test_concepts_on_two_lines_are_set_aside(tmp_path):
    write(tmp_path, {"n.con": 'c="and fever" 2:6 3:0||t="problem"\n', "n.txt": NOTE})
    found, set_aside = read("i2b2-concepts", tmp_path)
    assert [entities for _, entities in found] == [[], [], []]
    assert set_aside == {"entities across a sentence boundary": 1}


BAD = {
    "another text": ('c="chest pain" 2:2 2:4||t="problem"', r"U222.*n\.con, line 1.*'severe chest pain', not"),
    "a token behind the last": ('c="x" 3:3 3:9||t="problem"', r"U222.*n\.con, line 1.*line 3 has 5 tokens"),
    "a line behind the last": ('c="x" 9:0 9:0||t="problem"', r"U222.*n\.con, line 1.*line 9 has 0 tokens"),
    "damaged": ('c="x" 3:3||t="problem"', r"U220.*n\.con, line 1"),
}


@pytest.mark.parametrize(("row", "message"), BAD.values(), ids=BAD)
def test_bad_concepts_are_errors(tmp_path, row, message):
    write(tmp_path, {"n.con": row, "n.txt": NOTE})
    with pytest.raises(UniversalNERError, match=message):
        read("i2b2-concepts", tmp_path)


def make_ebmnlp(
    folder, labels, phase="starting_spans", separator="\n", tokens="Women with flu got zinc .", name="7.AGGREGATED"
):
    root = f"annotations/aggregated/{phase}"
    files = {f"{root}/{e}/train/{name}.ann": separator.join(numbers.split()) for e, numbers in labels.items()}
    return write(folder, {"documents/7.tokens": tokens.replace(" ", "\n"), **files}) / root / "participants" / "train"


LABELS = {"participants": "1 1 1 0 0 0", "interventions": "0 0 0 0 1 0", "outcomes": "0 0 0 0 0 0"}
EBMNLP = {"lines": ("\n", "7.AGGREGATED"), "commas": (",", "7_AGGREGATED"), "spaces": (" ", "7.AGGREGATED")}


@pytest.mark.parametrize(("separator", "name"), EBMNLP.values(), ids=EBMNLP)
def test_ebmnlp(tmp_path, separator, name):
    path = make_ebmnlp(tmp_path, LABELS, separator=separator, name=name)
    entities = [("Women with flu", "participants"), ("zinc", "interventions")]
    assert read("ebmnlp", path) == ([("Women with flu got zinc .", entities)], {})


def test_ebmnlp_in_detail(tmp_path):
    path = make_ebmnlp(tmp_path, {**LABELS, "participants": "2 4 4 0 0 0"}, phase="hierarchical_labels")
    ((_, entities),), _ = read("ebmnlp", path)
    assert entities == [("Women", "participants:2"), ("with flu", "participants:4"), ("zinc", "interventions:1")]


def test_an_abstract_without_all_elements_is_set_aside(tmp_path):
    path = make_ebmnlp(tmp_path, {"participants": LABELS["participants"]})
    assert read("ebmnlp", path) == ([], {"texts without annotations": 1})


def test_bad_ebmnlp_is_an_error(tmp_path):
    path = make_ebmnlp(tmp_path, {**LABELS, "outcomes": "0 0"})
    with pytest.raises(UniversalNERError, match=r"U227.*outcomes.*7\.AGGREGATED\.ann: 2 tags for 6 tokens"):
        read("ebmnlp", path)
    with pytest.raises(UniversalNERError, match="U220.*expected a folder of one of participants"):
        read("ebmnlp", tmp_path / "documents")


SENTENCES = "1\t0\t0\t10\n2\t1\t10\t31\n"
TEXT = "Title one.\nSFM ran at 860 S cm .\n"
TAGS = [
    ("0", "3", "B-MATERIAL", "B-anode"),
    ("4", "7", "O", "O"),
    ("8", "10", "O", "O"),
    ("11", "14", "B-VALUE", "O"),
    ("15", "19", "I-VALUE", "O"),
]


def make_sofc(folder, tags=TAGS, sentence="2"):
    rows = ["\t".join((sentence, str(i), *row)) for i, row in enumerate(tags, 1)]
    types = "annotations/entity_types_and_slots"
    files = {f"{types}/P1.csv": "\n".join(rows), "annotations/sentences/P1.csv": SENTENCES, "texts/P1.txt": TEXT}
    return write(folder, files) / types


@pytest.mark.parametrize(
    ("column", "expected"), [(4, [("SFM", "MATERIAL"), ("860 S cm", "VALUE")]), (5, [("SFM", "anode")])]
)
def test_sofc(tmp_path, column, expected):
    assert read("sofc", make_sofc(tmp_path), column=column) == ([("SFM ran at 860 S cm", expected)], {})
    (sentence,) = READERS["sofc"](tmp_path / "annotations/entity_types_and_slots/P1.csv", SetAside())
    assert sentence.id == "P1.2"


SOFC = {
    "an unknown sentence": ({"sentence": "9"}, r"U220.*P1\.csv, line 1: expected a known sentence, got 9"),
    "too few columns": ({"tags": [("0", "3")]}, r"U220.*P1\.csv, line 1"),
    "no numbers": ({"tags": [("a", "3", "O", "O")]}, r"U220.*P1\.csv, line 1"),
    "behind the end": ({"tags": [("0", "99", "B-X", "O")]}, r"U222.*P1\.csv, line 1"),
}


@pytest.mark.parametrize(("changes", "message"), SOFC.values(), ids=SOFC)
def test_bad_sofc_is_an_error(tmp_path, changes, message):
    with pytest.raises(UniversalNERError, match=message):
        read("sofc", make_sofc(tmp_path, **changes))
