import time

import pytest

from spacy_universalner.parsing import parse_list, parse_pairs

BERLIN = ("Berlin", "city")
PARIS = ("Paris", "city")

PAIRS = {
    "python": ("""[("Berlin", "city"), ('Paris', 'city')]""", [BERLIN, PARIS]),
    "json": ("""[["Berlin", "city"], ["Paris", "city"]]""", [BERLIN, PARIS]),
    "empty": ("[]", []),
    "trailing comma": ("""[("Berlin", "city"),]""", [BERLIN]),
    "ellipsis at the end": ("""[("Berlin", "city"), ...]""", [BERLIN]),
    "code fence": ("""```python\n[("Berlin", "city")]\n```""", [BERLIN]),
    "text before": ("""Here are the entities: [("Berlin", "city")]""", [BERLIN]),
    "text after": ("""[("Berlin", "city")] I hope this helps.""", [BERLIN]),
    "brackets around": ("""[As asked] [("Berlin", "city")] [end]""", [BERLIN]),
    "no outer brackets": ("""("Berlin", "city")\n("Paris", "city")""", [BERLIN, PARIS]),
    "list in a list": ("""[[("Berlin", "city"), ("Paris", "city")]]""", [BERLIN, PARIS]),
    "cut off in a mention": ("""[("Berlin", "city"), ("Par""", [BERLIN]),
    "cut off in a type": ("""[("Berlin", "city"), ("Paris", "ci""", [BERLIN]),
    "cut off after a pair": ("""[("Berlin", "city"), ("Paris", "city")""", [BERLIN, PARIS]),
    "apostrophe in double quotes": ("""[("Levi's", "brand")]""", [("Levi's", "brand")]),
    "apostrophe in single quotes": ("""[('Levi's', 'brand'), ('Paris', 'city')]""", [("Levi's", "brand"), PARIS]),
    "escaped quotes": (r"""[("the \"Wall\"", "landmark")]""", [('the "Wall"', "landmark")]),
    "bare quotes": ("""[("the "Wall"", "landmark")]""", [('the "Wall"', "landmark")]),
    "bare quotes and a comma": ("""[("Say "yes", he said", "quote")]""", [('Say "yes", he said', "quote")]),
    "bare quotes, escapes": (r"""[("a "b" caf\u00e9\nbar", "place")]""", [('a "b" café\nbar', "place")]),
    "bracket in a mention": ("""[("array[0]", "code")]""", [("array[0]", "code")]),
    "bracket in a mention, cut off": ("""[("array[0]", "code"), ("x""", [("array[0]", "code")]),
    "lone closing bracket": ("""[("a] b", "code")]""", [("a] b", "code")]),
    "parentheses in a mention": ("""[("f(x)", "code"), ("Paris", "city")""", [("f(x)", "code"), PARIS]),
    "three parts are no pair": ("""[("Berlin", "city", 0.9), ("Paris", "city")]""", [PARIS]),
    "three parts, cut off": ("""[("Berlin", "city", 0.9), ("Paris", "city")""", [PARIS]),
    "unquoted type": ("""[("Berlin", city), ("Paris", "city")]""", [PARIS]),
    "missing comma": ("""[("Berlin" "city"), ("Paris", "city")]""", [PARIS]),
    "missing comma between pairs": ("""[("Berlin", "city") ("Paris", "city")]""", [BERLIN, PARIS]),
    "number": ("""[(1989, "year")]""", [("1989", "year")]),
    "json surrogate pair": (r"""[["\ud83d\ude00", "emoji"]]""", [("\U0001f600", "emoji")]),
    "half a surrogate pair": (r"""[["\ud83d", "emoji"]]""", [("\ufffd", "emoji")]),
    "unknown escape": (r"""[("C:\data", "path")]""", [("C:\\data", "path")]),
    "white space around": ("""[(" Berlin ", " city ")]""", [BERLIN]),
    "line breaks": ("""[\n  ("Berlin",\n   "city")\n]""", [BERLIN]),
    "empty list, then brackets": ("""[] (no entities [found])""", []),
    "no list": ("There are no entities.", None),
    "nothing": ("", None),
    "list of strings": ("""["Berlin", "Paris"]""", None),
    "list of dicts": ("""[{"entity": "Berlin", "type": "city"}]""", None),
    "cut off at once": ("""[("Ber""", None),
    "unhashable": ("[{{}: 1}]", None),
}


@pytest.mark.parametrize(("reply", "expected"), PAIRS.values(), ids=PAIRS)
def test_parse_pairs(reply, expected):
    assert parse_pairs(reply) == expected


@pytest.mark.filterwarnings("error")
def test_a_strange_escape_gives_no_warning():
    assert parse_pairs(r"""[("\d+", "pattern")]""") == [("\\d+", "pattern")]


def test_nothing_is_evaluated(tmp_path):
    file = tmp_path / "made"
    parse_pairs(f"""[(open({str(file)!r}, "w"), "file")]""")
    assert not file.exists()


HOSTILE = {
    "backslashes": '[("' + "\\a" * 5000,
    "openings": '[("' * 3000,
    "openings with a comma": '[("a", ' * 3000,
    "quotes": '[("a", "b' + '" ' * 5000,
    "brackets": "[" * 50_000,
    "nested": "[" * 50_000 + "]" * 50_000,
    "signs": "[" + "-" * 50_000 + "1]",
}


@pytest.mark.parametrize("parse", [parse_pairs, parse_list])
@pytest.mark.parametrize("reply", HOSTILE.values(), ids=HOSTILE)
def test_no_reply_takes_long(parse, reply):
    start = time.perf_counter()
    parse(reply)
    assert time.perf_counter() - start < 5


LISTS = {
    "list": ('["Berlin", "Paris"]', ["Berlin", "Paris"]),
    "empty": ("[]", []),
    "white space around": ('  ["Berlin"]\n', ["Berlin"]),
    "text after": ('["Berlin"] USER: What describes', ["Berlin"]),
    "second list": ('["Berlin"]["Paris"]', ["Berlin"]),
    "quotes inside": (r'["the \"Wall\""]', ['the "Wall"']),
    "apostrophe": ('["Levi\'s"]', ["Levi's"]),
    "bracket inside": ('["a] b", "[c"]', ["a] b", "[c"]),
    "escape": (r'["caf\u00e9"]', ["café"]),
    "bare line break": ('["New\nYork"]', ["New\nYork"]),
    "number": ('["a", 1989]', ["a", "1989"]),
    "cut off in a mention": ('["Berlin", "Par', ["Berlin"]),
    "cut off after a mention": ('["Berlin", "Paris"', ["Berlin", "Paris"]),
    "cut off after a comma": ('["Berlin",', ["Berlin"]),
    "cut off, bracket and comma inside": ('["a, b]", "Par', ["a, b]"]),
    "cut off at once": ('["Ber', None),
    "no list": ("Berlin", None),
    "nothing": ("", None),
    "object": ('{"a": 1}', None),
}


@pytest.mark.parametrize(("answer", "expected"), LISTS.values(), ids=LISTS)
def test_parse_list(answer, expected):
    assert parse_list(answer) == expected
