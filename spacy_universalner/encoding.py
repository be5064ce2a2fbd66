"""From a template's strings to token ids: the same code for training and inference."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .prompts import Template


@dataclass(frozen=True)
class Exchange:
    """The ids of one turn and where its answer starts: ids[answer_start:] are what the student should say."""

    ids: tuple[int, ...]
    answer_start: int


class Encoder:
    """Turns passages, questions and answers into token ids.

    Each exchange is tokenised as one string and followed by the id of the end token. Special tokens are never
    recognised in text, so "<|im_end|>" in a passage or a label is so many ordinary characters.

    tokenizer (PreTrainedTokenizerFast): the student's tokenizer, with its end token set.
    template (Template): the conversation.
    """

    def __init__(self, tokenizer: Any, template: Template):
        self.tokenizer = tokenizer
        self.template = template
        self.end = int(tokenizer.eos_token_id)
        self.ask = lru_cache(maxsize=1 << 16)(self._ask)

    def passage(self, text: str) -> list[int]:
        """The prefix that all questions of a passage share, special first tokens of the tokenizer included."""
        return [*self._ids(self.template.passage(text), first=True), self.end]

    def _ask(self, entity_type: str) -> tuple[int, ...]:
        """The prompt of a question. Passage and prompt together are what inference starts from."""
        return tuple(self._ids(self.template.ask(entity_type)))

    def exchange(self, entity_type: str, mentions: Sequence[str]) -> Exchange:
        """A question and its answer. The answer's first token starts where the prompt's string ends."""
        prompt = self.template.ask(entity_type)
        encoded = self.tokenizer(
            prompt + self.template.answer(mentions),
            add_special_tokens=False,
            split_special_tokens=True,
            return_offsets_mapping=True,
        )
        start = next(i for i, (_, end) in enumerate(encoded["offset_mapping"]) if end > len(prompt))
        return Exchange((*encoded["input_ids"], self.end), start)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of an answer, without its end token."""
        return self.tokenizer.decode([i for i in ids if i != self.end], clean_up_tokenization_spaces=False)

    def _ids(self, text: str, *, first: bool = False) -> list[int]:
        return self.tokenizer(text, add_special_tokens=first, split_special_tokens=True)["input_ids"]
