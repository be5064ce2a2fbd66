import re
from pathlib import Path

import pytest

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.schemas import SECTIONS, change_settings, load_settings

from .conftest import make_settings

CONFIGS = Path(__file__).parents[1] / "configs"
SAMPLE = '[sample]\nmax_tokens = 256\nlimit = 10\nstrata = ""\nnear_duplicates = 0.8\nspare = 0.25\nseed = 0\n'
KEYS = ["max_tokens", "limit", "strata", "near_duplicates", "spare", "seed"]


def write(tmp_path, content):
    path = tmp_path / "some.cfg"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def problems(tmp_path, content, section="sample"):
    """What is wrong with a config: the lines of its one error, without values."""
    with pytest.raises(UniversalNERError, match="U010.*some.cfg") as caught:
        load_settings(write(tmp_path, content), section)
    return [line.strip().partition(":")[0] for line in str(caught.value).splitlines()[1:]]


SHIPPED = {
    "documents": "pile.cfg",
    "sample": "distil.cfg",
    "filter": "distil.cfg",
    "convert": "distil.cfg",
    "train": "train.cfg",
    "supervise": "supervised.cfg",
    "ablate": "ablate.cfg",
    "baseline": "baseline.cfg",
}


@pytest.mark.parametrize("section", SECTIONS)
def test_the_shipped_configs_load(section):
    assert type(load_settings(CONFIGS / SHIPPED[section], section)) is SECTIONS[section]


def test_changed_settings_are_checked_too():
    settings = load_settings(CONFIGS / "train.cfg", "train")
    assert change_settings(settings, {"epochs": 3}, where="ablate.x").epochs == 3
    with pytest.raises(UniversalNERError, match=r"U010.*ablate\.x(?s:.*)epochs: .*got 0(?s:.*)epoch: .*got 1"):
        change_settings(settings, {"epochs": 0, "epoch": 1}, where="ablate.x")


TUNINGS = [path for path in sorted(CONFIGS.glob("*.cfg")) if "\n[train]\n" in path.read_text(encoding="utf8")]


@pytest.mark.parametrize("path", TUNINGS, ids=[path.stem for path in TUNINGS])
def test_every_shipped_tuning_loads(path):
    assert load_settings(path, "train").max_minutes > 0


AUTHORS = {"epochs": 3, "learning_rate": 2e-5, "warmup": 0.04, "weight_decay": 0, "context": 1024, "dtype": "bfloat16"}


@pytest.mark.parametrize("name", ["uniner-7b", "uniner-13b"])
def test_the_authors_profiles_hold_their_numbers(name):
    settings = load_settings(CONFIGS / f"{name}.cfg", "train").model_dump()
    assert {key: settings[key] for key in AUTHORS} == AUTHORS
    assert (settings["template"], settings["questions"]) == ("uniner.v1", "multi-turn")
    assert settings["checkpoint_activations"] and not settings["frozen_layers"] and not settings["max_questions"]


def test_students_on_gold_data_are_tuned_as_others_are():
    distilled, gold = (load_settings(CONFIGS / name, "train").model_dump() for name in ("train.cfg", "train-sup.cfg"))
    assert {key for key, value in gold.items() if value != distilled[key]} <= {"template"}


def test_settings_are_the_values_of_the_file(tmp_path):
    settings = load_settings(write(tmp_path, SAMPLE), "sample")
    assert list(settings.model_dump().items()) == list(zip(KEYS, [256, 10, "", 0.8, 0.25, 0], strict=True))


WRONG = {
    "unknown key": (SAMPLE + "colour = 'red'\n", ["[sample] colour"]),
    "missing key": (SAMPLE.replace("max_tokens = 256\n", ""), ["[sample] max_tokens"]),
    "missing section": ("", [f"[sample] {key}" for key in KEYS]),
    "wrong type": (SAMPLE.replace("256", '"many"'), ["[sample] max_tokens"]),
    "out of range": (
        SAMPLE.replace("256", "0").replace("limit = 10", "limit = 0").replace("0.8", "1.5").replace("0.25", "-1"),
        ["[sample] max_tokens", "[sample] limit", "[sample] near_duplicates", "[sample] spare"],
    ),
    "unknown choice": (SAMPLE.replace('strata = ""', 'strata = "id"'), ["[sample] strata"]),
    "not filled in": (SAMPLE.replace("256", "null"), ["[sample] max_tokens"]),
    "unknown section": (SAMPLE + "[smaple]\na = 1\n", ["[smaple]"]),
    "unknown subsection": (SAMPLE + "[sample.more]\na = 1\n", ["[sample] more"]),
}


@pytest.mark.parametrize(("content", "expected"), WRONG.values(), ids=WRONG)
def test_a_wrong_config_is_an_error(tmp_path, content, expected):
    assert problems(tmp_path, content) == expected


def test_everything_wrong_is_reported_at_once(tmp_path):
    content = SAMPLE.replace("256", '"many"').replace("limit", "limti").replace("seed = 0", "seed = 0.5")
    content += "[trian]\na = 1\n"
    found = problems(tmp_path, content)
    assert sorted(found) == [
        "[sample] limit",
        "[sample] limti",
        "[sample] max_tokens",
        "[sample] seed",
        "[trian]",
    ]


def test_subsections_are_checked_too(tmp_path):
    content = (CONFIGS / "train.cfg").read_text(encoding="utf8").replace("alpha = 64", "beta = 64")
    assert problems(tmp_path, content, "train") == ["[train] lora.alpha", "[train] lora.beta"]


def pile(**changes):
    text = (CONFIGS / "pile.cfg").read_text(encoding="utf8")
    for key, value in changes.items():
        text = re.sub(f"^{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
    return text


# Changes to configs/pile.cfg, and the keys that are wrong then.
SOURCES = {
    "neither path nor data set": ({"dataset": "null"}, ["[documents] dataset"]),
    "both": ({"path": '"data"'}, ["[documents] dataset", "[documents] split", "[documents] shuffle_buffer"]),
    "a data set without a split": ({"split": "null"}, ["[documents] split"]),
    "a path shuffled": (
        {"path": '"data"', "dataset": "null", "split": "null"},
        ["[documents] shuffle_buffer"],
    ),
    "a path with a revision": (
        {"path": '"data"', "dataset": "null", "split": "null", "shuffle_buffer": 0, "revision": '"main"'},
        ["[documents] revision"],
    ),
}


@pytest.mark.parametrize(("changes", "expected"), SOURCES.values(), ids=SOURCES)
def test_a_profile_names_either_a_path_or_a_data_set(tmp_path, changes, expected):
    assert problems(tmp_path, pile(**changes), "documents") == expected


def test_a_profile_may_name_a_path(tmp_path):
    content = pile(path='"data"', dataset="null", split="null", shuffle_buffer=0)
    assert load_settings(write(tmp_path, content), "documents").path == "data"


GOLD = """
[supervise]
limit = 5
dev_share = 0.1
max_tokens = 256
seed = 0
benchmark = ["btc"]

[supervise.sets]

[supervise.sets.mine]
format = "bio"
path = "my.tsv"
labels = {"B": "b", "X": null}
license = "our own"
separator = "\\t"
columns = 2
token = 0
tag = 1
"""


def test_a_set_of_ones_own_is_read(tmp_path):
    mine = load_settings(write(tmp_path, GOLD), "supervise").sets["mine"]
    assert (mine.format, mine.labels, mine.separator) == ("bio", {"B": "b", "X": None}, "\t")


# Changes to the profile, and the keys that are wrong then.
SETS = {
    "an unknown key": ("tag = 1", "tag = 1\ncolour = 1", ["[supervise] sets.mine.bio.colour"]),
    "a key of the other format": ('"bio"', '"spacy"', None),
    "an unknown format": ('"bio"', '"iob"', ["[supervise] sets.mine"]),
    "a missing key": ('license = "our own"\n', "", ["[supervise] sets.mine.bio.license"]),
    "a column that is not there": ("tag = 1", "tag = 2", ["[supervise] sets.mine.bio.tag"]),
    "no words for a tag": ('"b"', '""', ["[supervise] sets.mine.bio.labels.B"]),
    "a name used twice": ('["btc"]', '["mine"]', ["[supervise] sets"]),
    "nothing named": (GOLD[GOLD.index('["btc"]') :], "[]\n\n[supervise.sets]\n", ["[supervise] sets"]),
}


@pytest.mark.parametrize(("old", "new", "expected"), SETS.values(), ids=SETS)
def test_a_wrong_set_is_an_error(tmp_path, old, new, expected):
    columns = [f"[supervise] sets.mine.spacy.{key}" for key in ("spans_key", "separator", "columns", "token", "tag")]
    assert problems(tmp_path, GOLD.replace(old, new), "supervise") == (columns if expected is None else expected)


def test_an_error_says_what_was_found_and_expected(tmp_path):
    with pytest.raises(
        UniversalNERError, match=re.escape("valid integer, unable to parse string as an integer, got 'many'")
    ):
        load_settings(write(tmp_path, SAMPLE.replace("256", '"many"')), "sample")


def test_an_unknown_filter_rule_is_an_error_that_lists_the_known(tmp_path):
    content = (CONFIGS / "distil.cfg").read_text(encoding="utf8").replace('"not in text"', '"not in txt"')
    with pytest.raises(UniversalNERError, match=r"U010.*\n.*rules\.7.*'refused', .*or 'over count', got 'not in txt'"):
        load_settings(write(tmp_path, content), "filter")


def test_other_sections_may_be_in_the_file(tmp_path):
    assert load_settings(write(tmp_path, SAMPLE + "[filter]\nelse_types = 5\n"), "sample").seed == 0


UNREADABLE = {
    "no section header": "seed = 0\n",
    "no value": "[sample]\nseed\n",
    "not text": b"\xff\xfe\x00",
    "a key given twice": SAMPLE + "seed = 1\n",
    "a section given twice": SAMPLE + SAMPLE,
    "a subsection of nothing": "[sample.a.b]\nc = 1\n",
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_an_unreadable_file_is_an_error(tmp_path, content):
    with pytest.raises(UniversalNERError, match="U011.*some.cfg"):
        load_settings(write(tmp_path, content), "sample")


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(UniversalNERError, match="U001.*gone.cfg"):
        load_settings(tmp_path / "gone.cfg", "sample")


PATIENCE = {
    "no conversations": ({"patience": 1, "dev_conversations": 0, "dev_evals": 3}, "dev_conversations"),
    "too few evaluations": ({"patience": 3, "dev_conversations": 2, "dev_evals": 3}, "dev_evals = 3"),
}


@pytest.mark.parametrize(("changes", "said"), PATIENCE.values(), ids=PATIENCE)
def test_patience_that_cannot_be_reached_is_an_error(changes, said):
    with pytest.raises(UniversalNERError, match=rf"U010.*ablate.x(?s:.)*patience: .*{said}"):
        change_settings(make_settings(), changes, where="ablate.x")
