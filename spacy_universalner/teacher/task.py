"""The spacy-llm task that asks a teacher for every entity of a passage and its type, without a list of labels."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Iterable  # noqa: UP035 (spacy-llm looks for typing.Iterable in the hints)

import srsly
from spacy.scorer import get_ner_prf
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import filter_spans
from spacy_llm.registry import registry

from ..align import find_mentions
from ..errors import Errors, UniversalNERError
from ..parsing import parse_pairs
from ..prompts import TeacherPrompt, get_teacher_prompt
from ..records import mend, read_json, write_json
from .completion import Completion, as_completion

TASK = "spacy-universalner.OpenNER.v1"
USER_DATA = "universal_ner_teacher"
PROMPT_FILE = "prompt.json"

# Never None: spacy-llm copies extensions that are None from doc to doc, which a getter does not allow.
if not Doc.has_extension("teacher_reply"):
    Doc.set_extension("teacher_reply", getter=lambda doc: doc.user_data.get(USER_DATA, {}))
    Doc.set_extension("teacher_entities", getter=lambda doc: parse_pairs(doc._.teacher_reply.get("raw", "")) or [])


@registry.llm_tasks(TASK)
def make_open_ner_task(prompt: str = "type.v1") -> "OpenNERTask":
    """Build the task.

    prompt (str): a teacher's prompt of prompts.py, by its versioned name.
    """
    return OpenNERTask(get_teacher_prompt(prompt))


class OpenNERTask:
    """Open extraction: one prompt a doc, the chat messages themselves.

    `doc.ents` gets the mentions that stand on token edges, the longest of those that overlap. All that was said is in
    two extensions: `doc._.teacher_entities`, the (mention, type) pairs as the teacher listed them, overlaps and what
    stands nowhere included; and `doc._.teacher_reply`, a dict of `raw`, `model`, `usage`, `finish_reason` and
    `prompt_sha`, which is stored with the doc, in `doc.user_data["universal_ner_teacher"]`.

    prompt (TeacherPrompt): what the teacher is asked.
    """

    def __init__(self, prompt: TeacherPrompt) -> None:
        self._prompt = prompt

    @property
    def prompt_template(self) -> str:
        return f"{self._prompt.system}\n\n{self._prompt.user}"

    @property
    def prompt_sha(self) -> str:
        return self._prompt.sha

    def wrote(self, messages: Any) -> bool:
        """Whether these messages ask this task's question."""
        return self._prompt.wrote(messages)

    def generate_prompts(self, docs: Iterable[Doc]) -> Iterable[Any]:
        """Write the messages of each doc. Any, because spacy-llm's check of the hints cannot read a list of dicts.

        docs (Iterable[Doc]): passages, cut to size before.
        YIELDS (list): chat messages, dicts of role and content.
        """
        for doc in docs:
            yield self._prompt.messages(doc.text)

    def parse_responses(self, docs: Iterable[Doc], responses: Iterable[Any]) -> Iterable[Doc]:
        """Keep each reply on its doc, and set the entities that can be read from it.

        docs (Iterable[Doc]): the passages.
        responses (Iterable[Any]): one reply a doc, in a list of one as spacy-llm passes it: Completion or plain string.
        YIELDS (Doc): the passages.
        RAISES (UniversalNERError): the model could not answer one.
        """
        for doc, response in zip(docs, responses, strict=True):
            completion = as_completion(response[0] if isinstance(response, (list, tuple)) else response)
            if not completion.given:
                raise UniversalNERError(Errors.U130.format(kind=completion.kind, error=completion.error))
            doc.user_data[USER_DATA] = said = self.describe(completion)
            doc.set_ents(read_entities(doc, said["raw"]))
            yield doc

    def scorer(self, examples: Iterable[Example]) -> dict[str, Any]:
        """Score `doc.ents` against gold entities whose labels are the types expected, for `nlp.evaluate`."""
        return get_ner_prf(examples)

    def describe(self, completion: Completion) -> dict[str, Any]:
        """What is kept of a reply: the fields of records.Reply beside the passage's."""
        return {
            "raw": mend(completion.text),
            "model": completion.model,
            "usage": dict(completion.usage),
            "finish_reason": completion.finish_reason,
            "prompt_sha": self.prompt_sha,
        }

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        return srsly.msgpack_dumps(asdict(self._prompt))

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> "OpenNERTask":
        self._prompt = _same_prompt(srsly.msgpack_loads(data), "The saved task")
        return self

    def to_disk(self, path: Path | str, *, exclude: Iterable[str] = ()) -> None:
        write_json(Path(path) / PROMPT_FILE, asdict(self._prompt))

    def from_disk(self, path: Path | str, *, exclude: Iterable[str] = ()) -> "OpenNERTask":
        file = Path(path) / PROMPT_FILE
        self._prompt = _same_prompt(read_json(file, hint="A pipeline is saved with its teacher's prompt."), file)
        return self


def read_entities(doc: Doc, reply: str) -> list[Span]:
    """The entities of a teacher's reply as spans that do not overlap, the longest first kept.

    A reply that cannot be read gives none, nor do mentions that are not in the text or end inside a token.
    """
    spans = (
        doc.char_span(start, end, label=type_)
        for mention, type_ in parse_pairs(reply) or []
        for start, end in find_mentions(doc.text, mention)
        if type_
    )
    return filter_spans(span for span in spans if span is not None)


def _same_prompt(saved: dict[str, Any], origin: Path | str) -> TeacherPrompt:
    prompt = get_teacher_prompt(str(saved.get("name")))
    if saved != asdict(prompt):
        raise UniversalNERError(Errors.U021.format(path=origin, name=prompt.name))
    return prompt
