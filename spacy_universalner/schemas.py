"""What the config files may say. Every field is required: the files in configs/ are the one place for defaults."""

import configparser
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from confection import Config
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from spacy.util import load_config

from .errors import Errors, UniversalNERError

Words = Annotated[str, Field(min_length=1)]


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")


S = TypeVar("S", bound=Settings)


class SampleSettings(Settings):
    max_tokens: PositiveInt = Field(title="Longest passage, in words and punctuation marks")
    limit: PositiveInt = Field(title="Passages to keep")
    strata: Literal["", "source", "domain"] = Field(
        title="Field whose values share the sample equally, small ones whole; empty for none"
    )
    near_duplicates: float = Field(ge=0, le=1, title="Resemblance from which a passage is dropped, 0 for never")
    spare: float = Field(ge=0, title="Share of the limit held in addition, to make up for near duplicates")
    seed: int = Field(title="Seed of the sample")


class DocumentsSettings(Settings):
    path: str | None = Field(title="File or folder of documents, null to read a data set")
    dataset: str | None = Field(title="Data set, by its name on the hub or its folder; null to read a path")
    name: str | None = Field(title="Configuration of the data set")
    revision: str | None = Field(title="Version of the data set")
    split: str | None = Field(title="Split of the data set")
    text: str = Field(title="Field of the text, dotted if nested")
    id: str | None = Field(title="Field of the id, null to number the documents")
    source: str | None = Field(title="Field of the source")
    domain: str | None = Field(title="Field of the domain")
    take: int = Field(ge=0, title="Documents to read, 0 for all")
    shuffle_buffer: int = Field(ge=0, title="Rows of the data set drawn from at random, 0 for its order")
    seed: int = Field(title="Seed of that order")

    @field_validator("dataset", "name", "revision", "split", "shuffle_buffer")
    @classmethod
    def check_kind(cls, value: str | int | None, info: ValidationInfo) -> str | int | None:
        """Either a path or a data set is read, and what is said of a data set is not passed over."""
        if info.data.get("path") is None:
            if value is None and info.field_name in ("dataset", "split"):
                raise ValueError("needed where path is null")
        elif value:
            raise ValueError("has no meaning for a path: set it to null, or to 0 if it is a number")
        return value


class FilterSettings(Settings):
    rules: list[
        Literal[
            "refused",
            "cut off",
            "nothing left",
            "else type",
            "not english letters",
            "sentence type",
            "long entity",
            "not in text",
            "over count",
        ]
    ] = Field(title="The rules that apply, of those that may be left out (see corpus/filtering.py)")
    else_types: list[str] = Field(title="Types that say nothing, dropped whatever their case (paper, section 3.1)")
    max_type_words: PositiveInt = Field(title="Longest type that is no sentence, in words; definitions may be longer")
    max_entity_words: PositiveInt = Field(title="Longest entity, in words")
    normalize_space: bool = Field(title="White space in a type becomes one space")
    normalize_case: bool = Field(title="Types are casefolded")


class ConvertSettings(Settings):
    negatives: Literal["none", "uniform", "frequency", "verified"] = Field(
        title="How types that do not occur are drawn (paper, section 3.2); verified: of those known to be absent"
    )
    negatives_number: float = Field(ge=0, title="Questions answered [] for each question with an answer, or passage")
    negatives_per: Literal["positive", "passage"] = Field(title="What that number is for each of")
    dev_share: float = Field(gt=0, lt=1, title="Share of passages held out")
    dev_limit: PositiveInt = Field(title="Most passages held out")
    seed: int = Field(title="Seed of the split and the negatives")


class LoraSettings(Settings):
    r: PositiveInt = Field(title="Rank")
    alpha: PositiveInt = Field(title="Scale")
    dropout: float = Field(ge=0, lt=1, title="Dropout before the adapter")


class TrainSettings(Settings):
    base: str = Field(title="SmolLM2-135M-Instruct, a repository of the hub (owner/name) or a folder")
    method: Literal["full", "lora", "qlora"] = Field(
        title="All weights; adapters on every linear layer; or these on a base in 4 bits (needs bitsandbytes)"
    )
    save: Literal["merged", "adapter"] = Field(
        title="A student that needs no other files, or adapters alone, which need the base in the cache"
    )
    template: str = Field(title="Conversation template, see prompts.py")
    questions: Literal["isolated", "multi-turn"] = Field(
        title="Each question sees the passage and itself, as inference asks it; or all before it, as the authors train"
    )
    frozen_embeddings: bool = Field(title="Embeddings left as they are, and with them a head that is tied to them")
    frozen_layers: int = Field(ge=0, title="Lowest layers left as they are, embeddings included if any; saves time")
    epochs: PositiveInt = Field(title="Passes over the conversations")
    max_minutes: float = Field(gt=0, title="Wall time for the updates; the learning rate reaches its end by then")
    max_tokens: int = Field(ge=0, title="Tokens trained on at most, 0 for no limit; likewise")
    learning_rate: float = Field(gt=0, title="Peak learning rate")
    warmup: float = Field(ge=0, lt=1, title="Share of the run in which the rate rises")
    weight_decay: float = Field(ge=0, title="AdamW weight decay")
    max_grad_norm: float = Field(gt=0, title="Gradient clipping")
    step_tokens: PositiveInt = Field(title="Tokens per optimiser step")
    batch_tokens: PositiveInt = Field(title="Tokens per forward and backward pass, as many as if rows were padded")
    max_questions: int = Field(ge=0, title="Questions drawn from a conversation each time it is seen, 0 for all")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        title="Compute type; auto takes the faster one of this machine"
    )
    context: int = Field(ge=0, title="Longest row in tokens, 0 for the base's own; what is longer becomes several rows")
    dev_conversations: int = Field(ge=0, title="Conversations in the validation loss and F1, 0 for none")
    dev_questions: int = Field(ge=0, title="Questions drawn from each of them, 0 for all")
    dev_evals: int = Field(ge=0, title="How often they are asked before the end")
    patience: int = Field(ge=0, title="Evaluations without a better F1 after which the run stops, 0 for never")
    report_to: list[str] = Field(title="Experiment trackers, as transformers names them (tensorboard, wandb, ...)")
    checkpoint_activations: bool = Field(
        title="Compute activations again in the backward pass: a third more time, far less memory"
    )
    save_minutes: float = Field(gt=0, title="Minutes between checkpoints")
    seed: int = Field(title="Seed of everything random")
    lora: LoraSettings

    @field_validator("patience")
    @classmethod
    def check_patience(cls, value: int, info: ValidationInfo) -> int:
        """A run can only stop early where it is evaluated, once to have a best F1 and then often enough."""
        if value and not info.data.get("dev_conversations", 1):
            raise ValueError("there is no F1 without dev_conversations: set them, or patience to 0")
        if value and value >= info.data.get("dev_evals", value + 1):
            raise ValueError(f"never reached with dev_evals = {info.data['dev_evals']}: set more, or patience to 0")
        return value

    @field_validator("save")
    @classmethod
    def check_save(cls, value: str, info: ValidationInfo) -> str:
        """Where all weights are trained there are no adapters to save."""
        if value == "adapter" and info.data.get("method") == "full":
            raise ValueError("method full trains all weights and has no adapters: use merged, or method lora or qlora")
        return value


class GoldSettings(Settings):
    path: Words = Field(title="File; of format spacy also a folder of .spacy files")
    labels: dict[str, Words | None] | None = Field(
        title="Words asked for each tag, null to leave one out; null in place of the map for all tags in lower case"
    )
    license: Words = Field(title="Licence of the data, kept beside them")


class DocsSettings(GoldSettings):
    format: Literal["spacy"]
    spans_key: str | None = Field(title="Key of doc.spans to read, null for doc.ents")


class ColumnsSettings(GoldSettings):
    format: Literal["bio"]
    separator: Words | None = Field(title="What stands between two columns, null for any white space")
    columns: PositiveInt = Field(title="Columns of a line")
    token: int = Field(ge=0, title="Column of the token, counted from 0")
    tag: int = Field(ge=0, title="Column of the BIO or IOB tag")

    @field_validator("token", "tag")
    @classmethod
    def check_column(cls, value: int, info: ValidationInfo) -> int:
        """A column that a line does not have is no column."""
        if value >= info.data.get("columns", value + 1):
            raise ValueError(f"columns are counted from 0, and there are {info.data['columns']}")
        return value


class SuperviseSettings(Settings):
    limit: int = Field(ge=0, title="Sentences of each set at most, held out ones included, 0 for all")
    dev_share: float = Field(gt=0, lt=1, title="Share of them held out")
    max_tokens: PositiveInt = Field(title="Longest passage, in words and punctuation marks; longer ones are cut")
    seed: int = Field(title="Seed of the sample and the split")
    benchmark: list[str] = Field(title="Sets of the benchmark folder, by name; their train splits are read")
    sets: dict[str, Annotated[DocsSettings | ColumnsSettings, Field(discriminator="format")]] = Field(
        title="Sets of your own, by name"
    )

    @field_validator("sets")
    @classmethod
    def check_names(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        """A name stands for one set, and there is at least one."""
        benchmark = info.data.get("benchmark", [])
        if twice := sorted(set(benchmark) & set(value)):
            raise ValueError(f"{', '.join(twice)}: in benchmark too, give your set another name")
        if not value and benchmark == []:
            raise ValueError("name at least one set, here or in benchmark")
        return value


class ArmSettings(Settings):
    """What makes one student of a study differ from the default; what is not named is as in the other files."""

    convert: dict[str, Any] = Field(default_factory=dict, title="Changes to [convert]")
    train: dict[str, Any] = Field(default_factory=dict, title="Changes to [train]")
    data: Literal["distilled", "supervised", "mixed"] = Field(default="distilled", title="What is trained on")
    share: float = Field(default=1.0, gt=0, le=1, title="How much of it; a smaller share is a part of a larger one")


class AblateSettings(Settings):
    max_tokens: PositiveInt = Field(title="Tokens each student is trained on at most")
    max_minutes: float = Field(gt=0, title="Wall time of the same, so long that no student comes to its end")
    dev_limit: int = Field(ge=0, title="Dev passages asked about, 0 for all")
    unseen_share: float = Field(ge=0, lt=1, title="Share of the types that no student learns; they are asked apart")
    limit: int = Field(ge=0, title="Sentences of each zero-shot set asked about, 0 for all")
    seed: int = Field(title="Seed of the samples of sentences")
    studies: dict[str, dict[str, ArmSettings]] = Field(title="Students to compare, by study and name")


class BertSettings(Settings):
    base: str | None = Field(title="Encoder, a repository of the hub (owner/name) or a folder; null for a small one")
    otherwise: Literal["small", "stop"] = Field(title="What to do where the base cannot be had; small is said so")
    layers: PositiveInt = Field(title="Layers of a small encoder, which starts from random weights")
    width: PositiveInt = Field(title="Its width")
    heads: PositiveInt = Field(title="Its attention heads")
    vocabulary: PositiveInt = Field(title="Its word pieces, made from the sentences that are trained on")
    max_tokens: int = Field(ge=8, title="Longest window, in word pieces; longer sentences are cut into several")
    overlap: int = Field(ge=0, title="Words that a window shares with the next")
    epochs: PositiveInt = Field(title="Passes over the sentences")
    max_minutes: float = Field(gt=0, title="Wall time of the updates; the learning rate reaches its end by then")
    batch_size: PositiveInt = Field(title="Windows per update")
    learning_rate: float = Field(gt=0, title="Peak learning rate")
    warmup: float = Field(ge=0, lt=1, title="Share of the run in which the rate rises")
    weight_decay: float = Field(ge=0, title="AdamW weight decay")
    save_minutes: float = Field(gt=0, title="Minutes between checkpoints")

    @field_validator("heads")
    @classmethod
    def check_heads(cls, value: int, info: ValidationInfo) -> int:
        """Heads share the width evenly."""
        if info.data.get("width", value) % value:
            raise ValueError(f"must divide width, {info.data['width']}")
        return value


class SpacySettings(Settings):
    epochs: PositiveInt = Field(title="Passes over the sentences at most")
    patience: int = Field(ge=0, title="Updates without a better F1 after which the run stops, 0 for never")
    eval_every: PositiveInt = Field(title="Updates between two evaluations")
    dropout: float = Field(ge=0, lt=1, title="Dropout")


class BaselineSettings(Settings):
    limit: int = Field(ge=0, title="Sentences to learn from, held out ones included, 0 for all")
    dev_share: float = Field(gt=0, lt=1, title="Share of them held out")
    seed: int = Field(title="Seed of the sample, the split and the training")
    bert: BertSettings
    spacy: SpacySettings


class SystemSettings(Settings):
    title: Words = Field(title="Name of the system in the table")
    pipeline: Words | None = Field(
        title="Folder or package of its pipeline, with {set} where the data set's name goes; null for the one below"
    )
    component: Words = Field(title="The component of the pipeline that is asked")
    asked: Literal["types", "labels", "fixed"] = Field(
        title="By predict(docs, types); with each set's types as its labels; or with the labels it has"
    )
    words: dict[str, Words] | None = Field(
        title="The type that each label is (asked = fixed); null where labels are types"
    )
    spans_key: Words | None = Field(title="Key of the doc.spans that hold what was found, null for doc.ents")
    score: Words | None = Field(title="Extension of a span that holds its score, null for none")
    tell_dataset: bool = Field(title="Tell the engine the data set (asked = types, a template that names data sets)")
    trained_on: list[Words] = Field(title="The sets it has learnt from; {set} for each set that it is asked about")
    batch_size: PositiveInt = Field(title="Texts per batch of the pipeline")

    @field_validator("words", "tell_dataset")
    @classmethod
    def check_use(cls, value: Any, info: ValidationInfo) -> Any:
        """A setting is given where it has a meaning, and nowhere else."""
        of = {"words": "fixed", "tell_dataset": "types"}[info.field_name]
        if value and info.data.get("asked", of) != of:
            raise ValueError(f"has no meaning for asked = {info.data['asked']}: set it to null, or false")
        return value


SECTIONS: dict[str, type[Settings]] = {
    "documents": DocumentsSettings,
    "sample": SampleSettings,
    "filter": FilterSettings,
    "convert": ConvertSettings,
    "train": TrainSettings,
    "supervise": SuperviseSettings,
    "ablate": AblateSettings,
    "baseline": BaselineSettings,
}
SYSTEM = "benchmark"
"""The section that makes a spaCy config a system of the benchmark: spaCy has a section called system."""
SPACY_SECTIONS = ("paths", "system", "nlp", "components", "corpora", "training", "pretraining", "initialize")


def read_config(path: Path) -> Config:
    """Read a file in spaCy's config format. RAISES (UniversalNERError): a missing or unreadable file."""
    if not path.is_file():
        raise UniversalNERError(Errors.U001.format(path=path, hint="Name a config file, as in configs/."))
    try:
        return load_config(path)
    except (ValueError, configparser.Error) as err:  # a key given twice is no ValueError
        raise UniversalNERError(Errors.U011.format(path=path, reason=err)) from err


def load_settings(path: Path, section: str) -> Settings:
    """Read one section of a config file.

    path (Path): a file in spaCy's config format.
    section (str): its section, one of SECTIONS.
    RETURNS (Settings): the validated settings.
    RAISES (UniversalNERError): a missing or unreadable file, or every wrong, unknown and missing key at once.
    """
    config = read_config(path)
    unknown = [
        f"  [{name}]: unknown section, expected one of {', '.join(SECTIONS)}" for name in config if name not in SECTIONS
    ]
    try:
        settings = SECTIONS[section](**config.get(section, {}))
    except ValidationError as err:
        problems = [f"  [{section}] {_problem(e)}" for e in err.errors()]
        raise UniversalNERError(Errors.U010.format(path=path, problems="\n".join(unknown + problems))) from err
    if unknown:
        raise UniversalNERError(Errors.U010.format(path=path, problems="\n".join(unknown)))
    return settings


def load_system_settings(path: Path) -> tuple[SystemSettings, Config]:
    """Read a system of the benchmark.

    path (Path): a file in spaCy's config format, with a section [benchmark].
    RETURNS (tuple): the validated settings, and the spaCy config beside them, empty where a pipeline is named.
    RAISES (UniversalNERError): a missing or unreadable file, or every wrong, unknown and missing key at once.
    """
    config = read_config(path)
    known = (SYSTEM, *SPACY_SECTIONS)
    problems = [
        f"  [{name}]: unknown section, expected one of {', '.join(known)}" for name in config if name not in known
    ]
    given = config.pop(SYSTEM, {})
    has_own = "nlp" in config
    if "pipeline" in given and (given["pipeline"] is None) != has_own:
        wrong = "none is below: name one, or add [nlp]" if not has_own else "one is below too: set it to null"
        problems.append(f"  [{SYSTEM}] pipeline: got {given['pipeline']!r}, and {wrong}")
    try:
        settings = SystemSettings(**given)
    except ValidationError as err:
        problems += [f"  [{SYSTEM}] {_problem(e)}" for e in err.errors()]
    if problems:
        raise UniversalNERError(Errors.U010.format(path=path, problems="\n".join(problems)))
    return settings, config


def change_settings(settings: S, changes: Mapping[str, Any], *, where: str) -> S:
    """The same settings with some changed. RAISES (UniversalNERError): every wrong and unknown key of WHERE at once."""
    return parse_settings({**settings.model_dump(), **changes}, type(settings), where=where)


def parse_settings(values: Mapping[str, Any], kind: type[S], *, where: str) -> S:
    """Settings of a kind. RAISES (UniversalNERError): every wrong, unknown and missing key of WHERE at once."""
    try:
        return kind(**values)
    except ValidationError as err:
        problems = "\n".join(f"  {_problem(e)}" for e in err.errors())
        raise UniversalNERError(Errors.U010.format(path=where, problems=problems)) from err


def _problem(error: ErrorDetails) -> str:
    """One of pydantic's errors in a line."""
    got = "" if error["type"] == "missing" else f", got {error['input']!r}"
    return f"{'.'.join(map(str, error['loc']))}: {error['msg']}{got}"
