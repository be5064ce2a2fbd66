import json

import pytest

from spacy_universalner.errors import UniversalNERError

from .published import read, write

INLINE = """<?xml version="1.0"?>
<ROOT><RECORD ID="1"><TEXT>
Seen by <PHI TYPE="DOCTOR">Dr. Bee &amp; Co</PHI> on <PHI TYPE="DATE"> 01/02 </PHI>.
</TEXT></RECORD><RECORD ID="2"><TEXT>Fine.</TEXT></RECORD><RECORD ID="3"><TEXT> </TEXT></RECORD></ROOT>"""
GENIA = """<set><sentence id="s1"><cons sem="G#other_name"><cons sem="G#DNA">IL-2 gene</cons> expression</cons> in
<cons sem="(AND G#cell_type G#cell_type)"><cons>B</cons> and <cons>T</cons> <cons>cells</cons></cons></sentence>
</set>"""
# Options, the file, what is read, what is set aside.
MARKED = {
    "elements in a text": (
        {"entity": "PHI"},
        INLINE,
        [("\nSeen by Dr. Bee & Co on  01/02 .\n", [("Dr. Bee & Co", "DOCTOR"), ("01/02", "DATE")]), ("Fine.", [])],
        {"sentences without visible text": 1},
    ),
    "nested elements": (
        {"text": "sentence", "entity": "cons", "attribute": "sem"},
        GENIA,
        [
            (
                "IL-2 gene expression in\nB and T cells",
                [("IL-2 gene", "G#DNA"), ("IL-2 gene expression", "G#other_name")],
            )
        ],
        {"coordinated entities": 1},
    ),
}


@pytest.mark.parametrize(("options", "content", "expected", "set_aside"), MARKED.values(), ids=MARKED)
def test_entities_marked_in_xml(tmp_path, options, content, expected, set_aside):
    write(tmp_path, {"a.xml": content})
    assert read("xml", tmp_path / "a.xml", **options) == (expected, set_aside)


def listed(tags, text="\nSeen by Dr. Bee\non 01/02 .\n"):
    return (
        f'<?xml version="1.0" encoding="UTF-8" ?>\n<note><TEXT><![CDATA[{text}]]></TEXT><TAGS>\n{tags}\n</TAGS></note>'
    )


DOCTOR = '<NAME id="P0" start="9" end="16" text="Dr. Bee" TYPE="DOCTOR" comment="" />'
EVENT = '<EVENT id="E0" start="1" end="5" text="seen" type="OCCURRENCE" /><TLINK id="T0" fromID="E0" type="BEFORE" />'
LISTED = {
    "all that have offsets": ({}, listed(DOCTOR), [("Dr. Bee", "DOCTOR")]),
    "some elements, another attribute": (
        {"attribute": "type", "elements": ["EVENT"]},
        listed(EVENT + '<TIMEX3 id="X0" start="20" end="25" text="01/02" type="DATE" />'),
        [("Seen", "OCCURRENCE")],
    ),
    "an entity on two lines": (
        {},
        listed(DOCTOR.replace('16" text="Dr. Bee', '19" text="Dr. Bee on')),
        [("Dr. Bee\non", "DOCTOR")],
    ),
    "line ends of DOS that count": (
        {},
        listed('<DATE id="P1" start="22" end="27" text="01/02" TYPE="DATE" />'),
        [("01/02", "DATE")],
    ),
}


@pytest.mark.parametrize(("options", "content", "expected"), LISTED.values(), ids=LISTED)
def test_entities_listed_in_xml(tmp_path, options, content, expected):
    write(tmp_path, {"a.xml": content})
    ((_, entities),), set_aside = read("xml", tmp_path, tags="TAGS", **options)
    assert (entities, set_aside) == (expected, {})


BAD = {
    "damaged": ({"entity": "PHI"}, "<ROOT>\n<TEXT>a & b</TEXT></ROOT>", r"U226.*a\.xml, line 2"),
    "cut off": ({"entity": "PHI"}, "<ROOT>\n<TEXT>a", r"U226.*a\.xml, line 2"),
    "no list of tags": ({"tags": "TAGS"}, "<ROOT><TEXT>a</TEXT></ROOT>", r"U220.*a\.xml.*TEXT and TAGS"),
    "no numbers": ({"tags": "TAGS"}, listed('<A start="x" end="2"/>'), r"U220.*a\.xml, A: expected two numbers"),
    "another text": (
        {"tags": "TAGS"},
        listed(DOCTOR.replace("Bee", "Ada")),
        r"U222.*a\.xml, NAME P0.*'Dr\. Bee', not 'Dr\. Ada'",
    ),
}


@pytest.mark.parametrize(("options", "content", "message"), BAD.values(), ids=BAD)
def test_bad_xml_is_an_error(tmp_path, options, content, message):
    write(tmp_path, {"a.xml": content})
    with pytest.raises(UniversalNERError, match=message):
        read("xml", tmp_path, **options)


TITLE, BODY = "BRCA1 in mice.", "We saw ovarian and breast cancer."


def annotation(text, tag, *places):
    locations = [{"offset": offset, "length": length} for offset, length in places]
    return {"id": "1", "infons": {"identifier": "9", "type": tag}, "text": text, "locations": locations}


PASSAGES = [
    {"offset": 0, "text": TITLE, "annotations": [annotation("BRCA1", "Gene", (0, 5))]},
    {
        "offset": 15,
        "text": BODY,
        "annotations": [
            annotation("breast cancer", "Disease", (34, 13)),
            annotation("ovarian cancer", "Disease", (22, 7), (41, 6)),
        ],
    },
    {"offset": 49, "text": "", "annotations": []},
]
FOUND = [(TITLE, [("BRCA1", "Gene")]), (BODY, [("breast cancer", "Disease")])]


def make_xml(passages):
    def mark(a):
        places = "".join(f'<location offset="{p["offset"]}" length="{p["length"]}"/>' for p in a["locations"])
        infons = "".join(f'<infon key="{key}">{value}</infon>' for key, value in a["infons"].items())
        return f'<annotation id="1">{infons}{places}<text>{a["text"]}</text></annotation>'

    body = "".join(
        f"<passage><infon key='type'>x</infon><offset>{p['offset']}</offset><text>{p['text']}</text>"
        f"{''.join(map(mark, p['annotations']))}</passage>"
        for p in passages
    )
    return f"<collection><document><id>42</id>{body}</document></collection>"


BIOC = {
    "JSON": ("a.json", lambda passages: json.dumps({"documents": [{"id": "42", "passages": passages}]})),
    "XML": ("a.xml", make_xml),
}


@pytest.mark.parametrize(("name", "make"), BIOC.values(), ids=BIOC)
def test_bioc(tmp_path, name, make):
    write(tmp_path, {name: make(PASSAGES)})
    assert read("bioc", tmp_path / name) == (FOUND, {"discontinuous entities": 1})


@pytest.mark.parametrize(("name", "make"), BIOC.values(), ids=BIOC)
def test_bioc_that_does_not_fit_is_an_error(tmp_path, name, make):
    write(tmp_path, {name: make([{**PASSAGES[0], "offset": 2}])})
    with pytest.raises(UniversalNERError, match=rf"U222.*{name}, document 42: entity 'Gene' from -2 to 3"):
        read("bioc", tmp_path / name)


PUBTATOR = f"""42|t|{TITLE}
42|a|{BODY}
42\t0\t5\tBRCA1\tGene\t672
42\t34\t47\tbreast cancer\tDisease\tD001943
42\tAssociation\t672\tD001943\tNovel

43|t|Nothing.
43|a|
"""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_pubtator(tmp_path, end):
    write(tmp_path, {"a.txt": PUBTATOR.replace("\n", end)})
    found, set_aside = read("pubtator", tmp_path / "a.txt")
    assert found == [(f"{TITLE}\n{BODY}", [("BRCA1", "Gene"), ("breast cancer", "Disease")]), ("Nothing.\n", [])]
    assert set_aside == {}


def test_bad_pubtator_is_an_error(tmp_path):
    write(tmp_path, {"a.txt": PUBTATOR.replace("0\t5\tBRCA1", "0\t5")})
    with pytest.raises(UniversalNERError, match=r"U22[02].*a\.txt, line 3"):
        read("pubtator", tmp_path / "a.txt")
