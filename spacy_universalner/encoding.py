"""From a template's strings to token ids: the same code for training and inference."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from .prompts import Template, Turn
from .records import Query


@dataclass(frozen=True)
class Exchange:
    """The ids of one turn and where its answer starts: ids[answer_start:] are what the student should say."""

    ids: tuple[int, ...]
    answer_start: int


class Encoder:
    """Turns passages, questions and answers into token ids.

    Each exchange is tokenised as one string, or as the pieces its template cuts it into, and followed by the id of the
    end token, but for a passage in one turn with its question. Special tokens are never recognised in text, so
    "<|im_end|>" in a passage or a label is so many ordinary characters.

    tokenizer (PreTrainedTokenizerFast): the student's tokenizer, with its end token set.
    template (Template): the conversation.
    """

    def __init__(self, tokenizer: Any, template: Template):
        self.tokenizer = tokenizer
        self.template = template
        self.end = int(tokenizer.eos_token_id)
        self.ask = lru_cache(maxsize=1 << 16)(self._ask)

    def passage(self, text: str, dataset: str = "") -> list[int]:
        """The prefix that all questions of a passage share, special first tokens of the tokenizer included."""
        ids = self._ids(self.template.passage(text, dataset), first=True)
        return [*ids, self.end] if self.template.ends_passage else ids

    def _ask(self, types: tuple[str, ...]) -> tuple[int, ...]:
        """The prompt of a question. Passage and prompt together are what inference starts from."""
        return tuple(self._ids(self.template.ask(types)))

    def first_exchange(self, text: str, dataset: str = "") -> Exchange:
        """A passage as it is learnt from."""
        exchange = self._exchange(self.template.first_turn(text, dataset), first=True)
        return exchange if self.template.ends_passage else Exchange(exchange.ids[:-1], len(exchange.ids) - 1)

    def exchange(self, queries: Sequence[Query]) -> Exchange:
        """A question and its answer as they are learnt. The answer's first token starts where the prompt ends."""
        return self._exchange(self.template.turn(queries))

    def _exchange(self, turn: Turn, *, first: bool = False) -> Exchange:
        ids: list[int] = []
        for piece in turn.pieces[:-1]:
            ids += self._ids(piece, first=first)
            first = False
        last = turn.pieces[-1]
        encoded = self.tokenizer(last, add_special_tokens=first, split_special_tokens=True, return_offsets_mapping=True)
        silent = len(last) - turn.said
        ends = [end for _, end in encoded["offset_mapping"]]
        start = next((i for i, end in enumerate(ends) if end > silent), len(ends) + 1) if silent else 0
        return Exchange((*ids, *encoded["input_ids"], self.end), len(ids) + start)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of an answer, without its end token."""
        return self.tokenizer.decode([i for i in ids if i != self.end], clean_up_tokenization_spaces=False)

    @cached_property
    def pieces(self) -> list[str]:
        """What each token writes within an answer, by its id; parts of characters are not legible."""
        (quote,) = self._ids('"')[-1:]
        before = len(self.decode([quote]))
        ids = range(max(self.tokenizer.get_vocab().values()) + 1)
        texts = self.tokenizer.batch_decode([[quote, i] for i in ids], clean_up_tokenization_spaces=False)
        return [text[before:] for text in texts]

    def go_on(self, text: str) -> list[int]:
        """Tokens of what may follow in an answer: a guess, since it depends on what stands before."""
        return self._ids(text)

    def _ids(self, text: str, *, first: bool = False) -> list[int]:
        return self.tokenizer(text, add_special_tokens=first, split_special_tokens=True)["input_ids"]
