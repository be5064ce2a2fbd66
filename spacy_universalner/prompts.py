"""Every character a teacher or a student sees.

Training text is built from the inference prompt: the prompt of a query, its answer, the end token. An exchange is
tokenised as one piece, so the ids asked at inference are a prefix of the ids trained on.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from .errors import Errors, UniversalNERError
from .records import read_json, sha256_json, write_json

TEMPLATE_FILE = "template.json"


@dataclass(frozen=True)
class TeacherPrompt:
    """What a teacher is asked about a passage.

    name (str): versioned name; it begins with the variant.
    system (str): the system message.
    user (str): the user message, with {passage} where the passage goes.
    """

    name: str
    system: str
    user: str

    @property
    def variant(self) -> str:
        """What stands beside an entity: its "type" in a word or two, or a "definition" in a short sentence."""
        return self.name.partition(".")[0]

    @property
    def sha(self) -> str:
        """What replies name their prompt by: of the name and what the teacher sees."""
        return sha256_json(asdict(self))

    def messages(self, passage: str) -> list[dict[str, str]]:
        """The chat messages for one passage. The passage's own braces are left alone."""
        return [
            {"role": "system", "content": self.system},
            {"role": "user", "content": self.user.replace("{passage}", passage)},
        ]

    def wrote(self, messages: Any) -> bool:
        """Whether these messages ask about some passage with this prompt."""
        try:
            content = messages[-1]["content"]
            before, _, after = self.user.partition("{passage}")
            return messages == self.messages(content.removeprefix(before).removesuffix(after))
        except (AttributeError, IndexError, KeyError, TypeError):
            return False


# Figure 1 of the paper (Zhou et al., ICLR 2024); the line breaks are ours, the figure does not show their number.
TYPE_V1 = TeacherPrompt(
    name="type.v1",
    system="You are a helpful information extraction system.",
    user=(
        "Given a passage, your task is to extract all entities and identify their entity types. The output should be "
        'in a list of tuples of the following format: [("entity 1", "type of entity 1"), ... ].\n\nPassage: {passage}'
    ),
)
# The wording the authors say they used (card of UniNER-7B-definition; universal-ner/universal-ner, issue 6). The
# paper, section 3.1, has other words for it, and no other system message.
DEFINITION_V1 = TeacherPrompt(
    name="definition.v1",
    system=TYPE_V1.system,
    user=(
        "Given a paragraph, your task is to extract all entities and concepts, and define their type using a short "
        'sentence. The output should be in the following format: [("entity", "definition of entity type in a short '
        'sentence"), ... ]\n\nParagraph: {passage}'
    ),
)
TEACHER_PROMPTS = {prompt.name: prompt for prompt in (TYPE_V1, DEFINITION_V1)}


def messages_key(messages: Any) -> str:
    """What a reply is stored under: sha256 of the messages it answers, hex."""
    return sha256_json(messages)


@dataclass(frozen=True)
class Template:
    """The conversation a student is tuned on and asked in.

    A rendered conversation is a list of exchanges, each followed by the end token, which is put in as an id and never
    spelled out, so that no text or label can end a turn.

    name (str): versioned name.
    opening (str): the first exchange, with {text} where the passage goes.
    question (str): the prompt of a query, with {type} where the entity type goes.
    answer_prefix (str): what stands between a prompt and its answer; part of the answer's first token.
    """

    name: str
    opening: str
    question: str
    answer_prefix: str

    def passage(self, text: str) -> str:
        """The exchange that all questions of a passage share."""
        return self.opening.replace("{text}", text)

    def ask(self, entity_type: str) -> str:
        """The prompt of one query, up to where the student starts to speak."""
        return self.question.replace("{type}", entity_type)

    def answer(self, mentions: Sequence[str]) -> str:
        """What the student should say: a JSON list of the mentions, before the end token."""
        return self.answer_prefix + json.dumps(list(mentions), ensure_ascii=False)

    def save(self, folder: Path) -> None:
        write_json(folder / TEMPLATE_FILE, asdict(self))


# Figure 2 of the paper in the text form of the authors' inference code (universal-ner/universal-ner:
# src/conversation.py), with the end token of the student's own tokenizer in place of LLaMA's.
PLAIN_V1 = Template(
    name="plain.v1",
    opening=(
        "A virtual assistant answers questions from a user based on the provided text. "
        "USER: Text: {text} ASSISTANT: I've read this text."
    ),
    question="USER: What describes {type} in the text? ASSISTANT:",
    answer_prefix=" ",
)
TEMPLATES = {template.name: template for template in (PLAIN_V1,)}


def load_template(folder: Path) -> Template:
    """The template a student was tuned with, from the file beside its weights.

    RAISES (UniversalNERError): no such file, an unknown name, or a known name with other text.
    """
    path = folder / TEMPLATE_FILE
    saved = read_json(path, hint="A student is saved with its template.")
    template = get_template(str(saved.get("name")))
    if saved != asdict(template):
        raise UniversalNERError(Errors.U021.format(path=path, name=template.name))
    return template


def get_template(name: str) -> Template:
    """A template by its versioned name. RAISES (UniversalNERError): no such name."""
    if name not in TEMPLATES:
        raise UniversalNERError(Errors.U020.format(name=name, known=", ".join(TEMPLATES)))
    return TEMPLATES[name]


def get_teacher_prompt(name: str) -> TeacherPrompt:
    """A teacher's prompt by its versioned name. RAISES (UniversalNERError): no such name."""
    if name not in TEACHER_PROMPTS:
        raise UniversalNERError(Errors.U020.format(name=name, known=", ".join(TEACHER_PROMPTS)))
    return TEACHER_PROMPTS[name]


@cache
def prompt_variant(sha: str) -> str:
    """What the prompt of a reply asked for, "type" or "definition". RAISES (UniversalNERError): an unknown prompt."""
    for prompt in TEACHER_PROMPTS.values():
        if prompt.sha == sha:
            return prompt.variant
    known = ", ".join(f"{prompt.name} ({prompt.sha[:12]}…)" for prompt in TEACHER_PROMPTS.values())
    raise UniversalNERError(Errors.U111.format(sha=f"{sha:.12}", known=known))
