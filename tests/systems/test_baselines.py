"""Supervised baselines are trained on gold sentences, and go on where they were stopped."""

import runpy
import sys
from collections import Counter
from pathlib import Path

import pytest
import spacy
from filelock import FileLock
from transformers import Trainer

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.gold.readers import Example
from spacy_universalner.records import read_json, write_json
from spacy_universalner.systems import baselines, load_system
from spacy_universalner.systems.baselines import make_gold, read_train, train_bert, train_spacy
from spacy_universalner.systems.encoder import make_classifier as make_encoder
from spacy_universalner.systems.pace import Pace
from spacy_universalner.systems.tagging import tag_labels

from .models import make_dataset, make_examples
from .test_system import change

ROOT = Path(__file__).parents[2]
BERT = {
    "name": "tiny",
    "dev_share": 0.1,
    "seed": 0,
    "base": None,
    "otherwise": "stop",
    "layers": 2,
    "width": 32,
    "heads": 2,
    "vocabulary": 300,
    "max_tokens": 32,
    "overlap": 4,
    "epochs": 12,
    "max_minutes": 5,
    "batch_size": 8,
    "learning_rate": 5e-3,
    "warmup": 0.1,
    "weight_decay": 0.0,
    "save_minutes": 5,
    "device": "cpu",
}
SPACY = {"name": "tiny", "dev_share": 0.1, "seed": 0, "epochs": 12, "patience": 0, "eval_every": 20, "dropout": 0.1}


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    folder = tmp_path_factory.mktemp("baselines") / "bert-tiny"
    return folder, train_bert(make_examples(), folder, **BERT)


def test_a_bert_learns_its_set(bert):
    folder, facts = bert
    assert facts["dev_f1"] > 90
    doc = spacy.load(folder)("Then Max went to Bern .")
    assert [(ent.text, ent.label_) for ent in doc.ents] == [("Max", "person"), ("Bern", "city")]


def test_its_meta_says_what_it_started_from(bert):
    folder, facts = bert
    said = read_json(folder / "meta.json")["baseline"]
    assert said == facts
    assert (said["kind"], said["set"], said["weights"]) == ("bert", "tiny", "random at the start")
    assert said["encoder"] == "BERT of 2 layers, 32 wide, made for this set"
    assert (said["sentences"], said["held_out"]) == (36, 4)
    assert said["settings"]["learning_rate"] == BERT["learning_rate"]


def test_nothing_is_left_beside_it(bert):
    folder, _ = bert
    assert [path.name for path in folder.parent.iterdir() if not path.name.endswith(".lock")] == [folder.name]


def test_it_is_a_system_of_the_benchmark(bert, tmp_path):
    folder, _ = bert
    system = load_system(change("bert", tmp_path, pipeline=f'"{folder.parent}/bert-{{set}}"'))
    predict = system.prepare(make_dataset(types=["person", "city"]))
    ((person, city),) = predict(["Then Eve went to Riga ."], [["person", "city"]])
    assert (person.mentions, city.mentions) == (("Eve",), ("Riga",))
    assert 0 < person.scores[0] <= 1


def test_spacys_ner_learns_its_set(tmp_path):
    folder = tmp_path / "spacy-tiny"
    facts = train_spacy(make_examples(), folder, **SPACY)
    assert facts["dev_f1"] > 90
    nlp = spacy.load(folder)
    assert [(ent.text, ent.label_) for ent in nlp("Then Max went to Bern .").ents] == [
        ("Max", "person"),
        ("Bern", "city"),
    ]
    assert read_json(folder / "meta.json")["baseline"]["kind"] == "spacy"
    assert "Progress" not in (folder / "config.cfg").read_text(), "it can be trained without this package"
    assert str(tmp_path) not in (folder / "config.cfg").read_text()


class Stopped(Exception):
    pass


def test_a_stopped_bert_goes_on_where_it_was(bert, tmp_path, monkeypatch):
    whole, _ = bert
    steps = []

    def stop_late(self, *args, **kwargs):
        steps.append(self.state.global_step)
        if len(steps) == 40:
            raise Stopped
        return step(self, *args, **kwargs)

    step = Trainer.training_step
    settings = {**BERT, "save_minutes": 1e-9}
    folder = tmp_path / "bert-tiny"
    monkeypatch.setattr(Trainer, "training_step", stop_late)
    with pytest.raises(Stopped):
        train_bert(make_examples(), folder, **settings)
    assert not folder.exists()
    (tmp_path / ".bert-tiny.work" / "checkpoints" / "checkpoint-99").mkdir()  # killed while it saved
    train_bert(make_examples(), folder, **settings)
    assert steps[40] == 39, "it goes on from its checkpoint"
    assert len(steps) == 40 + 60 - 39
    weights = [path / "universal_ner_token_classifier" / "model" / "model.safetensors" for path in (whole, folder)]
    assert weights[0].stat().st_size == weights[1].stat().st_size


def test_what_was_begun_with_other_settings_begins_anew(tmp_path):
    work = tmp_path / ".bert-tiny.work"
    (work / "checkpoints").mkdir(parents=True)
    write_json(work / "begun.json", {"settings": {}, "data": ""})
    (work / "checkpoints" / "rubbish").touch()
    with baselines._work(tmp_path / "bert-tiny", {"a": 1}, make_examples()) as found:
        assert found == work
        assert not (work / "checkpoints").exists()


def test_one_process_at_a_time(tmp_path):
    with FileLock(tmp_path / ".bert-tiny.work.lock"):
        with pytest.raises(UniversalNERError, match="U247.*bert-tiny"):
            train_bert(make_examples(), tmp_path / "bert-tiny", **BERT)


@pytest.mark.parametrize(("train", "settings"), [(train_bert, BERT), (train_spacy, SPACY)], ids=["bert", "spacy"])
def test_a_set_without_entities(tmp_path, train, settings):
    examples = [Example("a", "It rained .", ("person",), frozenset())] * 5
    with pytest.raises(UniversalNERError, match="U246.*'tiny'.*none with an entity"):
        train(examples, tmp_path / "one", **settings)


def test_what_tags_cannot_say_is_set_aside_and_counted():
    spans = {(0, 3, "person"), (0, 12, "person"), (16, 17, "city"), (22, 26, "city")}
    set_aside = Counter()
    doc = make_gold(spacy.blank("en"), Example("a", "Ada Lovelace in Rome, Oslo", (), frozenset(spans)), set_aside)
    assert [(ent.text, ent.label_) for ent in doc.ents] == [("Ada Lovelace", "person"), ("Oslo", "city")]
    assert set_aside == {"overlapping": 1, "not at token boundaries": 1}


def make_new(base, **changes):
    shape = {key: BERT[key] for key in ("layers", "width", "heads", "vocabulary", "max_tokens", "seed", "device")}
    words = [example.text.split() for example in make_examples()]
    return make_encoder(tag_labels(["person"]), words, base=base, **{"otherwise": "stop", **shape, **changes})


def test_a_published_encoder_gets_a_layer_of_tags(bert):
    folder = str(bert[0] / "universal_ner_token_classifier" / "model")
    model, _, said = make_new(folder)
    assert (model.config.num_labels, said) == (3, {"encoder": folder, "weights": "published"})


def test_a_base_that_cannot_be_had(tmp_path, monkeypatch):
    monkeypatch.setenv("SPACY_UNIVERSALNER_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UniversalNERError, match="U240.*some/bert"):
        make_new("some/bert")
    model, _, said = make_new("some/bert", otherwise="small")
    assert (model.config.num_labels, said["weights"]) == (3, "random at the start")
    assert "U240" in said["because"] and "some/bert" in said["because"]


def test_the_rate_rises_and_comes_to_its_end():
    pace = Pace(updates=100, seconds=60, warmup=0.1)
    assert [round(pace(update), 2) for update in (0, 5, 10, 55, 100)] == [0.1, 0.5, 1.0, 0.5, 0.0]
    pace.spent = 33.0
    assert round(pace(20), 2) == 0.5, "time runs out before the updates do"


def test_no_such_set(tmp_path):
    with pytest.raises(UniversalNERError, match="U246.*'no-set'.*there is no such set.*restaurant"):
        read_train("no-set", tmp_path, limit=0, seed=0)


@pytest.mark.parametrize("kind", ["bert", "spacy"])
def test_the_command_writes_a_pipeline(kind, tmp_path, monkeypatch, capsys):
    text = (ROOT / "configs" / "baseline.cfg").read_text(encoding="utf8")
    for key, value in {"base": "null", "layers": 1, "width": 16, "heads": 2, "vocabulary": 200, "epochs": 1}.items():
        text = "\n".join(f"{key} = {value}" if line.startswith(f"{key} =") else line for line in text.splitlines())
    (tmp_path / "baseline.cfg").write_text(text, encoding="utf8")
    monkeypatch.setattr(baselines, "load", lambda dataset, folder, limit, seed, split: make_examples())
    monkeypatch.chdir(tmp_path)
    options = {"kind": kind, "name": "restaurant", "data": "data", "config": "baseline.cfg", "device": "cpu"}
    monkeypatch.setattr(sys, "argv", ["baseline.py", *(f"--{key}={value}" for key, value in options.items())])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "scripts" / "baseline.py"), run_name="__main__")
    assert not ended.value.code
    said = capsys.readouterr().out
    assert "sentences: 36" in said and "random at the start" in said
    assert (tmp_path / "training" / "baselines" / f"{kind}-restaurant" / "meta.json").is_file()
    assert read_json(tmp_path / "metrics" / "stages" / "baseline.json")["set"] == "restaurant"


def test_a_sample_is_the_same_each_time():
    nlp = spacy.blank("en")
    first, second = (baselines._read(nlp, make_examples(), "tiny", 0.1, 3)[1] for _ in range(2))
    assert [doc.text for doc in first] == [doc.text for doc in second]
