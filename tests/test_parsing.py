import time

import pytest

from spacy_universalner.parsing import is_whole, parse_list, parse_lists, parse_pairs

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
    "keys": '{"a":[' * 10_000,
    "more keys": '{"a":["b"' + ',"a":["b"' * 10_000,
    "keys and brackets": '{"a":[' + "[" * 5000 + ',"b":[' * 5000,
    "commas and quotes": "{" + ',"' * 30_000,
    "keys without lists": "{" + '"a":1,' * 20_000,
    "spaces": '{"a"' + " " * 30_000 + ":" + " " * 30_000,
}


@pytest.mark.parametrize("parse", [parse_pairs, parse_list, parse_lists, is_whole])
@pytest.mark.parametrize("reply", HOSTILE.values(), ids=HOSTILE)
def test_no_reply_takes_long(parse, reply):
    start = time.process_time()
    parse(reply)
    assert time.process_time() - start < 5


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


OBJECTS = {
    "object": ('{"city": ["Berlin"], "date": []}', [("city", ["Berlin"], True), ("date", [], True)]),
    "white space around": (' {"city" : ["Berlin"] }\n', [("city", ["Berlin"], True)]),
    "line breaks": ('{\n  "city": [\n    "Berlin"\n  ]\n}', [("city", ["Berlin"], True)]),
    "empty": ("{}", []),
    "text after": ('{"city": ["Berlin"]} USER: {"date": ["May"]}', [("city", ["Berlin"], True)]),
    "another object": ('{"city": ["Berlin"]}, "date": ["May"]', [("city", ["Berlin"], True)]),
    "a key twice": ('{"city": [], "city": ["Berlin"]}', [("city", [], True), ("city", ["Berlin"], True)]),
    "escapes": (r'{"\"a\" caf\u00e9": ["\u00e9"]}', [('"a" café', ["é"], True)]),
    "unknown escape in a key": (r'{"C:\data": ["x"]}', [(r"C:\data", ["x"], True)]),
    "half a surrogate pair": (r'{"\ud83d": ["\ud83d"]}', [("\ufffd", ["\ufffd"], True)]),
    "marks inside": ('{"a]}": ["}, {\\"b\\": ["]}', [("a]}", ['}, {"b": ['], True)]),
    "number": ('{"year": [1989]}', [("year", ["1989"], True)]),
    "no list": ('{"a": "Berlin", "b": null, "city": ["Berlin"]}', [("city", ["Berlin"], True)]),
    "cut off in a mention": ('{"city": ["Berlin", "Par', [("city", ["Berlin"], False)]),
    "cut off after a mention": ('{"city": ["Berlin"', [("city", ["Berlin"], False)]),
    "cut off after a list": ('{"city": ["Berlin"]', [("city", ["Berlin"], True)]),
    "cut off in a key": ('{"city": ["Berlin"], "da', [("city", ["Berlin"], True)]),
    "cut off after a key": ('{"city": ["Berlin"], "date":', [("city", ["Berlin"], True)]),
    "cut off before a mention": ('{"city": [', [("city", [], False)]),
    "a list without its end": (
        '{"city": ["Berlin", "date": ["May"]}',
        [("city", ["Berlin"], False), ("date", ["May"], True)],
    ),
    "a mention without quotes": ('{"city": [Berlin], "date": ["May"]}', [("city", [], False), ("date", ["May"], True)]),
    "missing comma": ('{"city": ["Berlin"] "date": ["May"]}', [("city", ["Berlin"], True)]),
    "list": ('["Berlin"]', []),
    "words": ('"city": ["Berlin"]', []),
    "nothing": ("", []),
}


@pytest.mark.parametrize(("answer", "expected"), OBJECTS.values(), ids=OBJECTS)
def test_parse_lists(answer, expected):
    assert parse_lists(answer) == expected


WHOLE = {
    "list": (' ["a"]', True),
    "empty list": ("[]", True),
    "object": ('{"a": []}', True),
    "text after": ("[] and so on", True),
    "mark in a mention": ('["a]', False),
    "inner list": ('{"a": ["b"]', False),
    "string": ('"a"', False),
    "number": ("12", False),
    "nothing": ("", False),
}


@pytest.mark.parametrize(("answer", "expected"), WHOLE.values(), ids=WHOLE)
def test_is_whole(answer, expected):
    assert is_whole(answer) is expected
