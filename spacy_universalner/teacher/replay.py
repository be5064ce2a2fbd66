"""A teacher that was asked before: the replies recorded in a file, found by the messages they answer."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Iterable  # noqa: UP035 (spacy-llm looks for typing.Iterable in the hints)

from spacy_llm.registry import registry

from ..definitions import define_reply, read_definitions
from ..errors import Errors, UniversalNERError
from ..prompts import DEFINITION_V1, TEACHER_PROMPTS, TYPE_V1, TeacherPrompt, messages_key
from ..records import Reply, read_rows
from .completion import Completion

FIELDS = {"key": str, "reply": str, "prompt_sha": str, "model": str, "finish_reason": str, "usage": dict}
HINT = "Name the file of recorded replies in configs/teacher.cfg, [paths] replies."


@registry.llm_models("spacy-universalner.Replay.v1")
def make_replay_model(path: str) -> "ReplayModel":
    """Build the model. Nothing is read before the first call.

    path (str): a JSONL file, lines as `recording` makes them.
    """
    return ReplayModel(Path(path))


@registry.llm_models("spacy-universalner.ReplayDefined.v1")
def make_defining_model(path: str, definitions: str) -> "DefiningModel":
    """Build the model. Nothing is read before the first call.

    path (str): as for Replay.v1, replies to the prompt for types.
    definitions (str): a JSONL file of types and their definitions.
    """
    return DefiningModel(ReplayModel(Path(path)), Path(definitions))


def recording(reply: Reply, prompt: TeacherPrompt) -> dict[str, Any]:
    """A line of the file: a reply under the key of the messages it answers, without the passage's text."""
    return {
        "key": messages_key(prompt.messages(reply.text)),
        "passage_id": reply.passage_id,
        "prompt_sha": reply.prompt_sha,
        "model": reply.model,
        "finish_reason": reply.finish_reason,
        "usage": reply.usage,
        "reply": reply.raw,
    }


class ReplayModel:
    """Answers from a file. Where a key was recorded twice, the later line counts.

    path (Path): the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._recorded: dict[str, Completion] | None = None
        self._prompts: set[str] = set()

    def __call__(self, prompts: Iterable[Iterable[Any]]) -> Iterable[Iterable[Any]]:
        """Answer the prompts of each doc.

        prompts (Iterable): chat messages, in a list for each doc.
        YIELDS (list): Completions.
        RAISES (UniversalNERError): a missing or damaged file, a file of another prompt, no reply for these messages.
        """
        for messages in prompts:
            yield [self._answer(message) for message in messages]

    def _answer(self, messages: Any) -> Completion:
        if self._recorded is None:
            self._recorded = self._read()
        key = messages_key(messages)
        if key not in self._recorded:
            raise UniversalNERError(self._why_missing(messages, key))
        return self._recorded[key]

    def _read(self) -> dict[str, Completion]:
        recorded = {}
        for line, row in read_rows(self._path, hint=HINT):
            if not all(isinstance(row.get(name), kind) for name, kind in FIELDS.items()):
                message = Errors.U003.format(
                    path=self._path, line=line, kind="recorded reply", expected=list(FIELDS), got=sorted(row)
                )
                raise UniversalNERError(message)
            recorded[row["key"]] = Completion(row["reply"], row["model"], row["usage"], row["finish_reason"])
            self._prompts.add(row["prompt_sha"])
        return recorded

    def _why_missing(self, messages: Any, key: str) -> str:
        asked = {prompt.sha for prompt in TEACHER_PROMPTS.values() if prompt.wrote(messages)}
        if self._prompts and asked and not asked & self._prompts:
            return Errors.U031.format(path=self._path, got=min(self._prompts)[:12], expected=min(asked)[:12])
        end = messages[-1]["content"][-60:] if asked else str(messages)[-60:]
        return Errors.U030.format(path=self._path, end=end, key=key[:12], count=len(self._recorded or ()))


class DefiningModel:
    """Answers the prompt for definitions from replies to that for types.

    replies (ReplayModel): the replies.
    path (Path): the file of definitions.
    """

    def __init__(self, replies: ReplayModel, path: Path) -> None:
        self._replies = replies
        self._path = path

    @cached_property
    def _definitions(self) -> dict[str, str]:
        return read_definitions(self._path)

    def __call__(self, prompts: Iterable[Iterable[Any]]) -> Iterable[Iterable[Any]]:
        """Answer the prompts of each doc, as a ReplayModel does.

        RAISES (UniversalNERError): also a type without a definition, or messages of another prompt.
        """
        for messages in prompts:
            yield [self._answer(message) for message in messages]

    def _answer(self, messages: Any) -> Completion:
        passage = DEFINITION_V1.read(messages)
        if passage is None:
            got = next((prompt.name for prompt in TEACHER_PROMPTS.values() if prompt.wrote(messages)), "none")
            raise UniversalNERError(Errors.U259.format(got=got, expected=DEFINITION_V1.name))
        [[said]] = self._replies([[TYPE_V1.messages(passage)]])
        return replace(said, text=define_reply(said.text, passage, self._definitions))
