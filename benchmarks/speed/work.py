"""The questions of the benchmark: the same for every engine."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from spacy_universalner.encoding import Encoder
from spacy_universalner.gold.datasets import DATASETS
from spacy_universalner.gold.readers import Example, load
from spacy_universalner.prompts import load_template
from spacy_universalner.records import Passage, Query, read_records

TYPES = ("person", "organization", "city", "date", "event", "product", "animal", "technology", "law", "disease")
"""Asked of our own passages where no benchmark folder is named."""
PASSAGES = Path(__file__).parents[2] / "assets" / "passages.jsonl"


@dataclass(frozen=True)
class Question:
    """A prompt behind the passage of a document.

    document (int): number of the document.
    types (tuple): the types it asks for: one, or all of them where the student's template asks so.
    ids (list): of the passage and the prompt.
    """

    document: int
    types: tuple[str, ...]
    ids: list[int]


def load_examples(data: str, count: int) -> list[Example]:
    """A sample of the sentences of CrossNER AI with their types, or of our own passages; as many as there are."""
    if data:
        return load(DATASETS["ai"], Path(data), limit=count)
    passages = list(read_records(PASSAGES, Passage))
    drawn = sorted(random.Random(0).sample(range(len(passages)), min(count, len(passages))))
    return [Example(passages[i].id, passages[i].text, TYPES, frozenset()) for i in drawn]


def list_labels(first: Sequence[str], count: int) -> list[str]:
    """So many labels: the first ones, then those of all data sets."""
    known = [name for dataset in DATASETS.values() for name in dataset.types]
    return list(dict.fromkeys((*first, *known)))[:count]


def cut_words(texts: Sequence[str], words: int, count: int) -> list[str]:
    """Passages of so many words, cut from the texts one behind the other, from the start again where they end."""
    stream = [word for text in texts for word in text.split()]
    return [
        " ".join(stream[(start + i) % len(stream)] for i in range(words)) for start in range(0, words * count, words)
    ]


class Words:
    """Questions as ids, and answers as mentions, as the student's template has them.

    student (Path): folder of the student.
    """

    def __init__(self, student: Path):
        self.encoder = Encoder(AutoTokenizer.from_pretrained(student), load_template(student))

    def ask(self, examples: Sequence[Example]) -> list[Question]:
        """All questions about all examples, document by document."""
        found = []
        for number, example in enumerate(examples):
            passage = self.encoder.passage(example.text)
            for types in self.encoder.template.groups(example.types):
                ids = [*passage, *self.encoder.ask(tuple(types))]
                found.append(Question(number, tuple(types), ids))
        return found

    def read(self, ids: Sequence[int], types: Sequence[str]) -> list[tuple[str, ...]]:
        """The mentions of each type in what was generated."""
        return [answer.mentions for answer in self.encoder.template.read(self.encoder.decode(ids), types)]

    def measure(
        self, examples: Sequence[Example], answers: Sequence[Sequence[Sequence[str]]]
    ) -> list[tuple[int, list[tuple[int, int]]]]:
        """Tokens of passages, prompts and answers, for `floor.count_flops`; an answer's end token is not needed.

        answers (Sequence): mentions, by document and type.
        """
        found = []
        for example, mentions in zip(examples, answers, strict=True):
            queries = [Query(name, tuple(said)) for name, said in zip(example.types, mentions, strict=True)]
            asked = []
            for group in self.encoder.template.groups(queries):
                exchange = self.encoder.exchange(group)
                prompt = self.encoder.ask(tuple(query.type for query in group))
                asked.append((len(prompt), len(exchange.ids) - exchange.answer_start - 1))
            found.append((len(self.encoder.passage(example.text)), asked))
        return found

    def closing(self) -> list[int]:
        """Ids of the tokens that close a list, with its last quote or empty: a server may stop at them."""
        pieces = ((i, self.encoder.decode([i]).strip()) for i in sorted(self.encoder.tokenizer.get_vocab().values()))
        return [i for i, piece in pieces if piece == "[]" or piece.endswith('"]')]


def spread(items: Sequence[Any], count: int) -> list[int]:
    """Numbers of so many items, drawn without replacement, in order; the same ones for the same count."""
    return sorted(random.Random(0).sample(range(len(items)), min(count, len(items))))
