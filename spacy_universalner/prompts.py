"""Every character a teacher or a student sees.

Training text is built from the inference prompt: the prompt of a question, its answer, the end token. An exchange is
tokenised as one piece, so the ids asked at inference are a prefix of the ids trained on. One template is otherwise on
purpose: uniner.v1 trains and asks as the authors of the released checkpoints did, see PiecewiseTemplate.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from .errors import Errors, UniversalNERError
from .parsing import clean, is_whole, parse_list, parse_listing, parse_lists
from .records import Query, read_json, sha256_json, write_json
from .registry import Answer

TEMPLATE_FILE = "template.json"
PLACE = re.compile(r"\{(\w+)\}")
T = TypeVar("T")


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
        return self.read(messages) is not None

    def read(self, messages: Any) -> str | None:
        """The passage that these messages ask about with this prompt; None if they are not of it."""
        try:
            content = messages[-1]["content"]
            before, _, after = self.user.partition("{passage}")
            passage = content.removeprefix(before).removesuffix(after)
            return passage if messages == self.messages(passage) else None
        except (AttributeError, IndexError, KeyError, TypeError):
            return None


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
class Turn:
    """One exchange as it is learnt.

    pieces (tuple): strings that are tokenised apart; the end token follows the last one.
    said (int): characters at the end of the last piece that the student learns to say, and the end token with them; 0
        for an exchange of which it learns nothing.
    """

    pieces: tuple[str, ...]
    said: int = 0


@dataclass(frozen=True)
class Template:
    """The conversation a student is tuned on and asked in.

    A rendered conversation is a list of exchanges, each followed by the end token, which is put in as an id and never
    spelled out, so that no text or label can end a turn. Here each type is a question of its own.

    name (str): versioned name.
    opening (str): the first exchange, with {text} where the passage goes.
    question (str): the prompt of a question, with {type} where the entity type goes.
    answer_prefix (str): what stands between a prompt and its answer; part of the answer's first token.
    """

    name: str
    opening: str
    question: str
    answer_prefix: str

    def groups(self, items: Sequence[T]) -> list[Sequence[T]]:
        """Types, or queries, divided into questions, in order."""
        return [[item] for item in items]

    def passage(self, text: str, dataset: str = "") -> str:
        """The exchange that all questions of a passage share. Its data set's name is for `DatasetTemplate` alone."""
        return fill(self.opening, text=text)

    def ask(self, types: Sequence[str]) -> str:
        """The prompt of one question, up to where the student starts to speak."""
        (name,) = types
        return fill(self.question, type=name)

    def answer(self, queries: Sequence[Query]) -> str:
        """What the student should say to one question: a JSON list of the mentions, before the end token."""
        (query,) = queries
        return self.answer_prefix + json.dumps(query.mentions, ensure_ascii=False)

    def read(self, answer: str, types: Sequence[str], scores: Sequence[float] = ()) -> list[Answer]:
        """What the student said to one question, an answer for each of its types; complete if the list is whole.

        scores (Sequence): of each mention, in the order said (see `scoring`); none where they are not known.
        """
        mentions = parse_list(answer)
        return [_answer(mentions or (), scores, complete=mentions is not None and is_whole(answer))]

    def literals(self, types: Sequence[str]) -> tuple[str, ...]:
        """What stands before, between and after the lists of a whole answer to one question."""
        return ("", "")

    @property
    def is_list(self) -> bool:
        """Whether an answer is one list, about one type."""
        return True

    @property
    def ascii(self) -> bool:
        """Whether answers escape characters beyond ASCII."""
        return False

    @property
    def ends_passage(self) -> bool:
        """Whether the end token follows the passage's exchange."""
        return True

    def repeats(self, answer: str) -> bool:
        """Whether an answer names a mention again. None does in training: it goes round in circles."""
        return _any_twice(parse_list(answer) or ())

    def first_turn(self, text: str, dataset: str = "") -> Turn:
        """The passage as it is learnt from."""
        return Turn((self.passage(text, dataset),))

    def turn(self, queries: Sequence[Query]) -> Turn:
        """One question and its answer as they are learnt."""
        answer = self.answer(queries)
        return Turn((self.ask([query.type for query in queries]) + answer,), len(answer))

    def check_dataset(self, name: str) -> None:
        """RAISES (UniversalNERError): the student is to be told a data set that it was never told in training."""
        if name:
            known = ", ".join(one.name for one in TEMPLATES.values() if isinstance(one, DatasetTemplate))
            raise UniversalNERError(Errors.U150.format(name=name, template=self.name, known=known))

    def save(self, folder: Path) -> None:
        write_json(folder / TEMPLATE_FILE, asdict(self))


@dataclass(frozen=True)
class OneTurnTemplate(Template):
    """A conversation of one turn, for models that were tuned on single instructions: passage and question are one."""

    @property
    def ends_passage(self) -> bool:
        return False


@dataclass(frozen=True)
class DatasetTemplate(Template):
    """A conversation that says which data set its labels follow, where there is one.

    opening (str): also with {dataset} where the line goes.
    dataset (str): that line, with {name} where the data set's name goes; left out where there is none.
    """

    dataset: str

    def passage(self, text: str, dataset: str = "") -> str:
        """RAISES (UniversalNERError): the name of the data set is not usable."""
        self.check_dataset(dataset)
        return fill(self.opening, text=text, dataset=fill(self.dataset, name=dataset) if dataset else "")

    def check_dataset(self, name: str) -> None:
        """RAISES (UniversalNERError): the name is not one line of visible text; an empty one names none."""
        if name and (reason := name_fault(name)):
            raise UniversalNERError(Errors.U151.format(name=name, reason=reason))


@dataclass(frozen=True)
class JointTemplate(Template):
    """A conversation with all types in one question, and one JSON object of type and list as its answer.

    question (str): with {types} where the JSON list of the entity types goes.
    """

    def groups(self, items: Sequence[T]) -> list[Sequence[T]]:
        return [items] if items else []

    def ask(self, types: Sequence[str]) -> str:
        return fill(self.question, types=json.dumps(list(dict.fromkeys(types)), ensure_ascii=False))

    def answer(self, queries: Sequence[Query]) -> str:
        """What the student should say: every type asked, in that order, with its list."""
        found: dict[str, list[str]] = {}
        for query in queries:
            found.setdefault(query.type, []).extend(query.mentions)
        lists = {name: _distinct(mentions) for name, mentions in found.items()}
        return self.answer_prefix + json.dumps(lists, ensure_ascii=False)

    def read(self, answer: str, types: Sequence[str], scores: Sequence[float] = ()) -> list[Answer]:
        """An answer for each type; those whose lists were not finished, or never begun, are not complete."""
        found: dict[str, Answer] = {}
        lists = parse_lists(answer)
        scores = _fit_scores(scores, sum(len(mentions) for _, mentions, _ in lists))
        for name, mentions, whole in lists:
            found.setdefault(name, _answer(mentions, scores[: len(mentions)], complete=whole))
            scores = scores[len(mentions) :]
        return [found.get(clean(name), Answer(complete=False)) for name in types]

    @property
    def is_list(self) -> bool:
        return False

    def literals(self, types: Sequence[str]) -> tuple[str, ...]:
        keys = [json.dumps(name, ensure_ascii=False) + ": " for name in dict.fromkeys(types)]
        return ("{" + keys[0], *(", " + key for key in keys[1:]), "}")

    def repeats(self, answer: str) -> bool:
        """Whether an answer names a type again, or a mention again for its type."""
        lists = parse_lists(answer)
        return _any_twice([name for name, _, _ in lists]) or any(_any_twice(mentions) for _, mentions, _ in lists)


@dataclass(frozen=True)
class PiecewiseTemplate(Template):
    """A conversation that is learnt in other words and other pieces than it is asked in.

    So the authors' training code has it (universal-ner/universal-ner: src/train/fastchat/train/train.py, preprocess2),
    and their checkpoints are what it makes them. Against the prompt at inference: another system line, every piece
    tokenised by itself (a tokenizer of LLaMA begins each with a space, so two stand before an answer), the reply to the
    passage learnt too, and answers with JSON's ASCII escapes. What is asked is therefore no prefix of what is learnt;
    with a tokenizer that splits at spaces, as LLaMA's does, the prompt of a question alone still is one.

    told (str): the first piece of the first exchange, with {text} where the passage goes.
    asked (str): the first piece of a question, with {type} where the entity type goes.
    speaker (str): the piece that announces the student, in both.
    reply (str): what it says to the passage.
    """

    told: str
    asked: str
    speaker: str
    reply: str

    def answer(self, queries: Sequence[Query]) -> str:
        (query,) = queries
        return self.answer_prefix + json.dumps(query.mentions)

    @property
    def ascii(self) -> bool:
        return True

    def first_turn(self, text: str, dataset: str = "") -> Turn:
        return Turn((fill(self.told, text=text), self.speaker, self.reply), len(self.reply))

    def turn(self, queries: Sequence[Query]) -> Turn:
        answer = self.answer(queries)
        return Turn((fill(self.asked, type=queries[0].type), self.speaker, answer), len(answer))


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
# The text is read twice: at the second reading each word has seen the whole text, as in a bidirectional model (Arora et
# al., 2024, "Just read twice"). The words around are the fewest that did not cost F1 (docs/LOG.md).
TWICE_V1 = Template(
    name="twice.v1",
    opening="Text: {text}\nText again: {text}",
    question="What describes {type}?",
    answer_prefix=PLAIN_V1.answer_prefix,
)
# The released checkpoints' (UniNER-7B-type and so on).
UNINER_V1 = PiecewiseTemplate(
    name="uniner.v1",
    opening=PLAIN_V1.opening,
    question=PLAIN_V1.question,
    answer_prefix="",
    told="A virtual assistant answers questions from a user based on the provided paragraph. USER: Text: {text}",
    asked="USER: What describes {type} in the text?",
    speaker="ASSISTANT: ",
    reply="I've read this text.",
)
# Figure 3 of the paper, for supervised data; the plain one where there is no data set.
DATASET_V1 = DatasetTemplate(
    name="dataset.v1",
    opening=PLAIN_V1.opening.replace("Text: ", "{dataset}Text: "),
    question=PLAIN_V1.question,
    answer_prefix=PLAIN_V1.answer_prefix,
    dataset="Dataset: {name}\n",
)
DATASET_TWICE_V1 = replace(
    DATASET_V1,
    name="dataset-twice.v1",
    opening=f"{{dataset}}{TWICE_V1.opening}",
    question=TWICE_V1.question,
)
# The plain one: its name tells that the types of its questions are definitions, sentences of a definition teacher.
PLAIN_DEFINITION_V1 = replace(PLAIN_V1, name="definition.v1")
# Section 3.2 of the paper; the wording is ours, theirs is not published.
ALL_IN_ONE_V1 = JointTemplate(
    name="all-in-one.v1",
    opening=PLAIN_V1.opening,
    question="USER: What describes each of {types} in the text? ASSISTANT:",
    answer_prefix=PLAIN_V1.answer_prefix,
)
# What models that were never tuned on our answers are told of them; the words are ours.
FORM = "Answer with a JSON list of the mentions as they stand in the text, [] if there are none."
# Vicuna from version 1.1 on (lm-sys/FastChat: conversation.py, "vicuna_v1.1").
VICUNA_V1 = Template(
    name="vicuna.v1",
    opening=(
        "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
        "detailed, and polite answers to the user's questions. USER: Text: {text} ASSISTANT: I've read this text."
    ),
    question=f"USER: What describes {{type}} in the text? {FORM} ASSISTANT:",
    answer_prefix=" ",
)
# Alpaca, the prompt without an input (tatsu-lab/stanford_alpaca: train.py), whose instruction holds the text: the one
# with an input has the question before the text, and nothing could be computed once for all questions about it.
ALPACA_V1 = OneTurnTemplate(
    name="alpaca.v1",
    opening=(
        "Below is an instruction that describes a task. Write a response that appropriately completes the request."
        "\n\n### Instruction:\nText: {text}\n"
    ),
    question=f"What describes {{type}} in the text? {FORM}\n\n### Response:",
    answer_prefix="",
)
TEMPLATES = {
    template.name: template
    for template in (
        PLAIN_V1,
        TWICE_V1,
        UNINER_V1,
        DATASET_V1,
        DATASET_TWICE_V1,
        PLAIN_DEFINITION_V1,
        ALL_IN_ONE_V1,
        VICUNA_V1,
        ALPACA_V1,
    )
}


@dataclass(frozen=True)
class SourcePrompt:
    """What an encoder-decoder reads, a passage with all types asked of it, and how its answer is read.

    name (str): versioned name.
    source (str): the whole input, with {types} where the types go and {text} where the passage goes.
    nothing (str): the answer that nothing was found.
    """

    name: str
    source: str
    nothing: str

    def ask(self, text: str, types: Sequence[str]) -> str:
        """The input for one passage."""
        return fill(self.source, types=", ".join(dict.fromkeys(types)), text=text)

    def answer(self, queries: Sequence[Query]) -> str:
        """What a model should say."""
        found = [f"{query.type}: {mention}" for query in queries for mention in query.mentions]
        return "; ".join(found) or self.nothing

    def read(self, answer: str, types: Sequence[str], *, ended: bool = True) -> list[Answer]:
        """What was said about each type.

        A type that is named in other case is that type; one that was not asked is passed over. No answer is complete
        where the whole was cut off, or has a part that names no type.

        ended (bool): whether the model came to its end; if not, the last mention may be a part of one and is left out.
        """
        if answer.strip().casefold() == self.nothing.casefold():
            return [Answer(complete=ended) for _ in types]
        pairs, whole = parse_listing(answer, types, ended=ended)
        return [
            Answer(_distinct([mention for said, mention in pairs if said == clean(name)]), complete=whole)
            for name in types
        ]


# The first of its instructions for entities, with the types as options (BeyonderXX/InstructUIE:
# configs/instruction_config.json, src/uie_dataset.py). "category.Output" is theirs.
INSTRUCTUIE_V1 = SourcePrompt(
    name="instructuie.v1",
    source=(
        "Please list all entity words in the text that fit the category.Output format is "
        '"type1: word1; type2: word2". \nOption: {types} \nText: {text} \nAnswer:'
    ),
    nothing="None",
)
SOURCE_PROMPTS = {prompt.name: prompt for prompt in (INSTRUCTUIE_V1,)}


def fill(template: str, **values: str) -> str:
    """Put values into the places of a template. What looks like a place in a value is left alone."""
    return PLACE.sub(lambda match: values[match[1]], template)


def name_fault(name: object) -> str:
    """Why a label or the name of a data set cannot stand in a prompt, "" if it can."""
    if not isinstance(name, str):
        return f"it is a {type(name).__name__}"
    if not name.strip():
        return "it is empty"
    if name != name.strip():
        return "it begins or ends with white space"
    return "" if name.isprintable() else "it holds a line break or another control character"


def _answer(mentions: Sequence[str], scores: Sequence[float], *, complete: bool) -> Answer:
    """An answer without repetition: a mention said twice has the score of the first time."""
    scores = _fit_scores(scores, len(mentions))
    if not scores:
        return Answer(_distinct(mentions), complete=complete)
    scored = dict(zip(reversed(mentions), reversed(scores), strict=True))
    distinct = _distinct(mentions)
    return Answer(distinct, tuple(scored[mention] for mention in distinct), complete)


def _fit_scores(scores: Sequence[float], count: int) -> Sequence[float]:
    """A score for each mention: the lowest for all where not all of them are strings, so that which is whose is not
    known."""
    return scores if not scores or len(scores) == count else [min(scores)] * count


def _distinct(mentions: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(mentions))


def _any_twice(names: Sequence[str]) -> bool:
    return len(set(names)) < len(names)


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


def get_source_prompt(name: str) -> SourcePrompt:
    """The prompt of an encoder-decoder by its versioned name. RAISES (UniversalNERError): no such name."""
    if name not in SOURCE_PROMPTS:
        raise UniversalNERError(Errors.U020.format(name=name, known=", ".join(SOURCE_PROMPTS)))
    return SOURCE_PROMPTS[name]


@cache
def prompt_variant(sha: str) -> str:
    """What the prompt of a reply asked for, "type" or "definition". RAISES (UniversalNERError): an unknown prompt."""
    for prompt in TEACHER_PROMPTS.values():
        if prompt.sha == sha:
            return prompt.variant
    known = ", ".join(f"{prompt.name} ({prompt.sha[:12]}…)" for prompt in TEACHER_PROMPTS.values())
    raise UniversalNERError(Errors.U111.format(sha=f"{sha:.12}", known=known))
