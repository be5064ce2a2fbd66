"""The token classifier finds entities at exact places, in texts of any length, and is saved whole."""

import numpy as np
import pytest
import spacy

from spacy_universalner.errors import UniversalNERError
from spacy_universalner.records import read_json, write_json
from spacy_universalner.systems import token_classifier
from spacy_universalner.systems.token_classifier import NAME

from .models import make_classifier

TEXTS = ["Then Ada went to Rome .", "", "  \n ", "It  rained.\n\nAda left\tOslo!", "👩‍🔬 \u200b Zoë's 10mg"]


def entities(doc):
    return [(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents]


def saying(nlp, tags):
    """Make the component say a tag for each word: {word: tag}."""
    pipe = nlp.get_pipe(NAME)

    def predict(words):
        chances = [np.full((len(of_text), len(pipe._tags)), 0.1, dtype="f") for of_text in words]
        for of_text, found in zip(words, chances, strict=True):
            for i, word in enumerate(of_text):
                found[i, pipe._tags.index(tags.get(word, "O"))] = 0.5
        return chances

    pipe.predict = predict
    return nlp


def test_entities_stand_where_their_words_are():
    nlp = saying(make_classifier(), {"Ada": "B-person", "Lovelace": "I-person", "Rome": "I-city"})
    doc = nlp("  Ada \n Lovelace,\tRome")
    assert entities(doc) == [(2, 16, "person"), (18, 22, "city")]
    assert doc.text[2:16] == "Ada \n Lovelace"


def test_scores_are_the_probability_of_the_tags():
    nlp = saying(make_classifier(), {"Ada": "B-person", "Lovelace": "I-person", "Rome": "I-city"})
    group = nlp("Ada Lovelace , Rome").spans[NAME]
    assert group.attrs["scores"] == pytest.approx([0.25, 0.5])


def test_one_text_gets_what_it_gets_among_others():
    nlp = make_classifier()
    together = [(entities(doc), doc.spans[NAME].attrs) for doc in nlp.pipe(TEXTS)]
    for text, (found, attrs) in zip(TEXTS, together, strict=True):
        doc = nlp(text)
        assert entities(doc) == found
        assert doc.spans[NAME].attrs["scores"] == pytest.approx(attrs["scores"], abs=1e-5)


def test_each_word_has_the_chances_of_every_tag():
    pipe = make_classifier().get_pipe(NAME)
    words = [["Then", "Ada", "\u200b", "went"], [], ["unheard-of" * 20]]
    found = pipe.predict(words)
    assert [chances.shape for chances in found] == [(4, 5), (0, 5), (1, 5)]
    assert np.concatenate(found).sum(-1) == pytest.approx(1, abs=1e-5)


def test_a_long_text_is_read_in_windows_that_fit():
    nlp = make_classifier(max_tokens=16)
    doc = nlp("Then Ada went to Rome . " * 40)
    assert len(doc) == 240
    chances = nlp.get_pipe(NAME).predict([[token.text for token in doc]])[0]
    assert (chances > 0).all()


def test_a_short_text_is_as_the_encoder_alone_has_it():
    import torch

    pipe = make_classifier().get_pipe(NAME)
    model, pieces = pipe._load()
    words = ["Then", "Ada", "went"]
    ids, starts = pieces.frame(pieces.cut(words, 30))
    with torch.inference_mode():
        expected = model(input_ids=torch.tensor([ids])).logits[0].softmax(-1)[starts]
    assert pipe.predict([words])[0] == pytest.approx(expected.numpy(), abs=1e-5)
    assert (ids[0], ids[-1]) == (pieces.tokenizer.cls_token_id, pieces.tokenizer.sep_token_id)


def test_special_tokens_in_a_text_are_text():
    pipe = make_classifier().get_pipe(NAME)
    model, pieces = pipe._load()
    ids = [i for piece in pieces.cut(["[SEP]", "[PAD]"], 30) for i in piece]
    assert not {pieces.tokenizer.sep_token_id, pieces.tokenizer.pad_token_id} & set(ids)


def same(first, second):
    (a,), (b,) = (nlp.get_pipe(NAME).predict([["Then", "Ada", "went", "to", "Rome"]]) for nlp in (first, second))
    return np.allclose(a, b, atol=1e-6)


def test_the_pipeline_directory_holds_all_there_is(tmp_path):
    nlp = make_classifier()
    nlp.to_disk(tmp_path / "one")
    loaded = spacy.load(tmp_path / "one")
    assert loaded.get_pipe(NAME).labels == ("person", "city")
    loaded.to_disk(tmp_path / "two")  # before it was asked: the files are copied
    (tmp_path / "one").rename(tmp_path / "gone")
    assert same(nlp, spacy.load(tmp_path / "two"))


def test_it_travels_as_bytes():
    nlp = make_classifier()
    other = spacy.blank("en")
    other.add_pipe(NAME, config={"device": "cpu"})
    other.from_bytes(nlp.to_bytes())
    assert same(nlp, other)


def test_bytes_with_odd_names_are_refused():
    pipe = make_classifier().get_pipe(NAME)
    data = token_classifier.srsly.msgpack_dumps({"tags": ["O"], "files": {"../x": b""}})
    with pytest.raises(UniversalNERError, match=r"U185.*\.\./x"):
        pipe.from_bytes(data)


def test_other_processes_load_it_themselves(tmp_path):
    make_classifier().to_disk(tmp_path / "one")
    nlp = spacy.load(tmp_path / "one")
    alone = [entities(doc) for doc in nlp.pipe(TEXTS)]
    assert [entities(doc) for doc in nlp.pipe(TEXTS, n_process=2, batch_size=2)] == alone


def test_without_a_model():
    nlp = spacy.blank("en")
    nlp.add_pipe(NAME)
    for use in (lambda: nlp("Ada."), lambda: nlp.get_pipe(NAME).to_bytes()):
        with pytest.raises(UniversalNERError, match="U245.*weasel run baseline"):
            use()


def test_a_damaged_file_is_found(tmp_path):
    make_classifier().to_disk(tmp_path)
    path = tmp_path / NAME / "model" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(UniversalNERError, match="U005.*model.safetensors"):
        spacy.load(tmp_path)("Ada.")


def test_tags_of_another_model_are_refused(tmp_path):
    make_classifier().to_disk(tmp_path)
    path = tmp_path / NAME / "cfg.json"
    write_json(path, {"tags": read_json(path)["tags"][:-2]})
    with pytest.raises(UniversalNERError, match="U248.*3 labels for 5 outputs"):
        spacy.load(tmp_path)("Ada.")


@pytest.mark.parametrize("name", ["max_tokens", "batch_size"])
def test_a_wrong_setting(name):
    with pytest.raises(UniversalNERError, match=f"U008.*{name}"):
        spacy.blank("en").add_pipe(NAME, config={name: 0})


def test_a_text_that_fails_goes_to_the_error_handler():
    nlp = make_classifier()
    failed = []
    nlp.set_error_handler(lambda name, pipe, docs, err: failed.extend(doc.text for doc in docs))
    nlp.get_pipe(NAME).predict = lambda words: 1 / 0
    assert list(nlp.pipe(["a", "b"], batch_size=1)) == []
    assert failed == ["a", "b"]
