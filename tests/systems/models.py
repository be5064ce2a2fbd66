"""Tiny real models for the systems: an encoder-decoder, a token classifier, spaCy's ner."""

from types import SimpleNamespace

import spacy
from spacy.training import Example as Pair

from spacy_universalner.gold.readers import Example
from spacy_universalner.systems.encoder import make_small
from spacy_universalner.systems.tagging import tag_labels
from spacy_universalner.systems.token_classifier import NAME

from ..conftest import make_tiny_tokenizer

NAMES = ("Ada", "Grace", "Bob", "Eve", "Max", "Ida")
CITIES = ("Paris", "Rome", "Oslo", "Bonn", "Bern", "Riga")
TYPES = ("person", "city", "date")


def make_dataset(name="tiny", types=TYPES) -> SimpleNamespace:
    """A data set as far as a system sees it: its name and its types."""
    return SimpleNamespace(name=name, types=tuple(types))


def make_examples(types=("person", "city")) -> list[Example]:
    """Thirty-six sentences with a person and a city, and four without."""
    examples = []
    for name in NAMES:
        for city in CITIES:
            text = f"Then {name} went to {city} ."
            spans = {(5, 5 + len(name), "person"), (text.index(city), text.index(city) + len(city), "city")}
            examples.append(Example(f"tiny-{len(examples)}", text, types, frozenset(spans)))
    for word in ("rain", "snow", "hail", "wind"):
        examples.append(Example(f"tiny-{len(examples)}", f"There was {word} .", types, frozenset()))
    return examples


def make_seq2seq(folder, answers=None):
    """A T5 of 2 layers; it has learnt {source: answer} by heart, or nothing. RETURNS (Path): its folder."""
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    tokenizer = make_tiny_tokenizer()
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        dropout_rate=0.0,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    model = T5ForConditionalGeneration(config)
    if answers:
        sources = tokenizer(list(answers), padding=True, return_tensors="pt", return_token_type_ids=False)
        said = tokenizer([answer + tokenizer.eos_token for answer in answers.values()], padding=True)["input_ids"]
        labels = torch.tensor(said)
        labels[labels == tokenizer.pad_token_id] = -100
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        for _ in range(150):
            model(**sources, labels=labels).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_classifier(types=("person", "city"), *, max_tokens=32, **config):
    """A pipeline with a token classifier of random weights, 2 layers."""
    import torch

    torch.manual_seed(0)
    tags = tag_labels(types)
    words = [example.text.split() for example in make_examples()]
    model, tokenizer = make_small(
        words, layers=2, width=16, heads=2, vocabulary=200, max_tokens=max_tokens, id2label=dict(enumerate(tags))
    )
    nlp = spacy.blank("en")
    nlp.add_pipe(NAME, config={"device": "cpu", **config}).use(model, tokenizer, tags)
    return nlp


def make_ner(folder, labels=("PERSON", "GPE")):
    """A pipeline with spaCy's ner, trained for a few steps to take Ada for a person. RETURNS (Path): its folder."""
    nlp = spacy.blank("en")
    ner = nlp.add_pipe("ner")
    for label in labels:
        ner.add_label(label)
    pairs = [Pair.from_dict(nlp.make_doc("Ada lives ."), {"entities": [(0, 3, "PERSON")]})]
    optimizer = nlp.initialize(lambda: pairs)
    for _ in range(30):
        nlp.update(pairs, sgd=optimizer)
    nlp.to_disk(folder)
    return folder
