"""The `universal_ner` pipeline component: entities of whatever types the user names."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import srsly
from spacy.language import Language
from spacy.pipeline import Pipe
from spacy.pipeline.spancat import spancat_score
from spacy.scorer import get_ner_prf
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import minibatch, registry
from thinc.api import Config

from . import engines  # noqa: F401  (registers the engines)
from .annotation import choose_ents, collect, make_group
from .errors import Errors, UniversalNERError
from .labels import Labels, check_labels, describe_labels, simplify_labels
from .packing import pack_student, unpack_student
from .records import Prediction, read_json, write_json
from .registry import Engine, Loadable, Portable
from .windows import ask

NAME = "universal_ner"
STUDENT = "student"
DEFAULT_ENGINE = {"@universal_ner_engines": "universal_ner.Transformers.v1"}


@Language.factory(
    NAME,
    assigns=["doc.ents", "doc.spans", "token.ent_iob", "token.ent_type"],
    default_config={
        "labels": [],
        "engine": DEFAULT_ENGINE,
        "threshold": 0.0,
        "occurrences": "all",
        "annotate": "both",
        "overwrite": False,
        "spans_key": NAME,
        "alignment_mode": "strict",
        "max_passage_tokens": 256,
        "overlap_tokens": 32,
        "scorer": {"@scorers": "universal_ner.Scorer.v1"},
    },
    default_score_weights={
        "ents_f": 1.0,
        "ents_p": 0.0,
        "ents_r": 0.0,
        "ents_per_type": None,
        f"spans_{NAME}_f": 0.0,
        f"spans_{NAME}_p": 0.0,
        f"spans_{NAME}_r": 0.0,
        f"spans_{NAME}_per_type": None,
    },
)
def make_universal_ner(
    nlp: Language,
    name: str,
    labels: list[str] | dict[str, str],
    engine: Engine,
    threshold: float,
    occurrences: Literal["all", "first"],
    annotate: Literal["both", "ents", "spans"],
    overwrite: bool,
    spans_key: str,
    alignment_mode: Literal["strict", "contract", "expand"],
    max_passage_tokens: int,
    overlap_tokens: int,
    scorer: Callable[..., dict[str, Any]] | None,
) -> "UniversalNER":
    """Make the component. See UniversalNER for the arguments.

    RAISES (UniversalNERError): also labels that would be others once the pipeline is saved and loaded.
    """
    _check_writable(labels)
    return UniversalNER(
        name,
        labels=labels,
        engine=engine,
        threshold=threshold,
        occurrences=occurrences,
        annotate=annotate,
        overwrite=overwrite,
        spans_key=spans_key,
        alignment_mode=alignment_mode,
        max_passage_tokens=max_passage_tokens,
        overlap_tokens=overlap_tokens,
        scorer=scorer,
    )


def _check_writable(labels: list[str] | dict[str, str]) -> None:
    text = Config({"component": {"labels": labels}}).to_str()
    for interpolate in (True, False):  # spaCy does both
        try:
            got = Config().from_str(text, interpolate=interpolate)["component"]["labels"]
        except ValueError as err:
            raise UniversalNERError(Errors.U186.format(labels=labels, got=" ".join(str(err).split()))) from err
        if got != labels:
            raise UniversalNERError(Errors.U186.format(labels=labels, got=got))


@registry.scorers("universal_ner.Scorer.v1")
def make_scorer() -> Callable[..., dict[str, Any]]:
    """A scorer of entities, and of the spans of a group where the gold docs have that group."""
    return score_ents_and_spans


def score_ents_and_spans(examples: Iterable[Example], *, spans_key: str, **kwargs: Any) -> dict[str, Any]:
    """RETURNS (dict): "ents_p", "ents_r", "ents_f", "ents_per_type", and the same of "spans_{spans_key}"."""
    examples = list(examples)
    return {**get_ner_prf(examples, **kwargs), **spancat_score(examples, spans_key=spans_key, **kwargs)}


class UniversalNER(Pipe):
    """Finds the entities of the types it is asked for.

    `doc.spans[spans_key]` gets all of them, nested ones and those of several labels too, with scores (see
    `annotation.scored`). `doc.ents` gets those that do not overlap: the highest score first, then the longest. What
    could not be used is in `doc.user_data`, under the name of the component: a list of {"label", "text", "reason"},
    where the reason is "not in the text", "not at token boundaries", "below the threshold" or "cut off".

    Each doc is asked the labels in its `doc.user_data["universal_ner_labels"]` (the name of the component and
    "_labels"); else those given with the call, as by `nlp.pipe(texts, component_cfg={"universal_ner": {"labels":
    ...}})`; else the component's own.

    name (str): name of the component in its pipeline.
    labels (list | dict): the entity types to find, in the user's words: names, or the description that is asked for
        each name. Their order does not matter.
    engine (Engine): what answers the questions.
    threshold (float): lowest score of an entity, between 0 and 1.
    occurrences (str): where a mention is taken to stand in its passage: at "all" its places or the "first".
    annotate (str): what is written: "ents", "spans" or "both".
    overwrite (bool): whether earlier entities give way to those that overlap them, as with the entity ruler; if not,
        they stay and those that overlap them stand in the span group only. The span group is always written anew.
    spans_key (str): key of the span group.
    alignment_mode (str): what to do with an entity that cuts through a token: "strict" leaves it out, "contract" and
        "expand" move its edges (as in Doc.char_span).
    max_passage_tokens (int): longer documents are asked about in windows of so many words and punctuation marks.
    overlap_tokens (int): how many of them a window may share with the next, at most; a quarter of a window where it is
        more.
    scorer (Callable | None): used by `score`.
    RAISES (UniversalNERError): a label that is not usable or listed twice, a threshold that is no share, a size of
        windows that cannot be.
    """

    def __init__(
        self,
        name: str = NAME,
        *,
        labels: Labels = (),
        engine: Engine,
        threshold: float = 0.0,
        occurrences: str = "all",
        annotate: str = "both",
        overwrite: bool = False,
        spans_key: str = NAME,
        alignment_mode: str = "strict",
        max_passage_tokens: int = 256,
        overlap_tokens: int = 32,
        scorer: Callable[..., dict[str, Any]] | None = score_ents_and_spans,
    ):
        if not 0 <= threshold <= 1:
            raise UniversalNERError(Errors.U182.format(got=threshold))
        if max_passage_tokens < 1:
            raise UniversalNERError(Errors.U008.format(name="max_passage_tokens", got=max_passage_tokens))
        if overlap_tokens < 0:
            raise UniversalNERError(Errors.U190.format(got=overlap_tokens))
        self.name = name
        self.engine = engine
        self.threshold = threshold
        self.occurrences = occurrences
        self.annotate = annotate
        self.overwrite = overwrite
        self.spans_key = spans_key
        self.alignment_mode = alignment_mode
        self.max_passage_tokens = max_passage_tokens
        self.overlap_tokens = overlap_tokens
        self.scorer = scorer
        self._configured = self._labels = check_labels(labels)
        self._model = str(engine.model) if isinstance(engine, Portable) and engine.model else None

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the entity types asked for."""
        return tuple(self._labels)

    @property
    def label_data(self) -> list[str] | dict[str, str]:
        """The labels as `initialize` takes them: names, or the descriptions by name."""
        return simplify_labels(self._labels)

    def set_labels(self, labels: Labels) -> None:
        """Ask for these types from now on. RAISES (UniversalNERError): one is not usable or listed twice."""
        self._labels = check_labels(labels)

    def add_label(self, label: str, description: str | None = None) -> int:
        """Ask for one more type.

        label (str): its name.
        description (str | None): what is asked in place of the name. One given for a known name replaces what it had.
        RETURNS (int): 1, or 0 if nothing changed.
        """
        asked = self._labels.get(label, label) if description is None else description
        added = check_labels({label: asked})
        if added.items() <= self._labels.items():
            return 0
        self._labels = {**self._labels, **added}
        return 1

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: list[str] | dict[str, str] | None = None,
        engine: Engine | None = None,
    ) -> None:
        """Set labels and engine, and load the engine's model, so that what is wrong with it shows now.

        labels (list | dict | None): in place of those configured; without either, the entity types of the examples.
        engine (Engine | None): in place of the one configured.
        """
        if labels is None and not self._labels:
            labels = sorted({ent.label_ for example in get_examples() for ent in example.reference.ents})
        if labels is not None:
            self.set_labels(labels)
        if engine is not None:
            self.engine = engine
        if isinstance(self.engine, Loadable):
            self.engine.load()

    def __call__(self, doc: Doc, *, labels: Labels | None = None) -> Doc:
        """Annotate one doc.

        labels (Iterable | Mapping | None): asked in place of the component's.
        RAISES (UniversalNERError): no labels, no student, a passage that does not fit.
        """
        self._annotate([doc], labels)
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128, labels: Labels | None = None) -> Iterator[Doc]:
        """Annotate a stream of docs, a batch at a time.

        The docs of a batch that fails are asked one by one, so that only those that fail go to the pipeline's error
        handler, each by itself.

        labels (Iterable | Mapping | None): asked of all docs in place of the component's.
        """
        labels = None if labels is None else check_labels(labels)
        for batch in minibatch(stream, size=batch_size):
            try:
                self._annotate(batch, labels)
            except Exception as err:  # spaCy's contract: whatever it is, the handler decides
                yield from self._one_by_one(batch, labels, err)
            else:
                yield from batch

    def _one_by_one(self, docs: Sequence[Doc], labels: Labels | None, err: Exception) -> Iterator[Doc]:
        """Annotate the docs of a batch that failed, and hand those that fail to the error handler."""
        handle = self.get_error_handler()
        if len(docs) == 1:
            handle(self.name, self, list(docs), err)
            return
        for doc in docs:
            try:
                self._annotate([doc], labels)
            except Exception as own:
                handle(self.name, self, [doc], own)
            else:
                yield doc

    def _annotate(self, docs: Sequence[Doc], labels: Labels | None) -> None:
        predictions = self.predict(docs, [self._labels_of(doc, labels) for doc in docs])
        for doc, of_doc in zip(docs, predictions, strict=True):
            self.set_annotations(doc, of_doc)

    def _labels_of(self, doc: Doc, labels: Labels | None) -> Mapping[str, str]:
        """The labels of a doc, of the call, or the component's. RAISES (UniversalNERError): there are none."""
        given = doc.user_data.get(f"{self.name}_labels", labels)
        if given is not None:
            return check_labels(given)
        if not self._labels:
            raise UniversalNERError(Errors.U040.format())
        return self._labels

    def predict(self, docs: Sequence[Doc], labels: Sequence[Labels] | None = None) -> list[list[Prediction]]:
        """Ask about docs without changing them.

        docs (Sequence[Doc]): the docs.
        labels (Sequence | None): the types asked of each doc, each a list of distinct names or the descriptions by
            name; None asks those a call would.
        RETURNS (list): for each doc, one prediction per label, in the order of the labels.
        RAISES (UniversalNERError): no labels, or not one list of them per doc.
        """
        if labels is None:
            labels = [self._labels_of(doc, None) for doc in docs]
        if len(labels) != len(docs):
            raise UniversalNERError(Errors.U043.format(docs=len(docs), labels=len(labels)))
        described = [describe_labels(names) for names in labels]
        asked = [sorted(set(of_doc.values())) for of_doc in described]  # in one order, whatever the user's is
        found = ask(
            self.engine,
            [doc.text for doc in docs],
            asked,
            max_tokens=self.max_passage_tokens,
            overlap=self.overlap_tokens,
            first=self.occurrences == "first",
        )
        return [
            [replace(by_question[question], type=name) for name, question in names.items()]
            for names, by_question in zip(described, map(_by_type, found), strict=True)
        ]

    def set_annotations(self, doc: Doc, predictions: Sequence[Prediction]) -> None:
        """Write predictions to a doc's entities and span group, and what could not be used to its user data."""
        spans, unused = collect(doc, predictions, alignment_mode=self.alignment_mode, threshold=self.threshold)
        if self.annotate != "ents":
            doc.spans[self.spans_key] = make_group(doc, self.spans_key, spans)
        if self.annotate != "spans":
            doc.ents = choose_ents(doc.ents, spans, overwrite=self.overwrite)
        doc.user_data[self.name] = unused

    def score(self, examples: Iterable[Example], **kwargs: Any) -> dict[str, Any]:
        """Score examples with the scorer, which is also told the key of the span group."""
        return super().score(examples, **{"spans_key": self.spans_key, **kwargs})

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Save labels and the whole student, so that the directory works anywhere.

        exclude (Iterable[str]): "student" leaves it out; the pipeline then looks for one as a new pipeline does.
        """
        path = Path(path)
        path.mkdir(parents=True, exist_ok=True)
        write_json(path / "cfg.json", self._to_cfg())
        if isinstance(self.engine, Portable) and STUDENT not in exclude:
            self.engine.save_model(str(path / STUDENT))

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> "UniversalNER":
        """Load labels, and use the student in the directory.

        Labels of a config that is not the one saved stay: so `spacy.load(path, config=...)` can name others. A model
        does not, as a warning tells.
        """
        path = Path(path)
        cfg = read_json(path / "cfg.json")
        saved, configured = check_labels(cfg["labels"]), describe_labels(cfg.get("configured", self._configured))
        if not self._configured or self._configured == configured:
            self._labels = saved
        if isinstance(self.engine, Portable) and STUDENT not in exclude and (path / STUDENT).is_dir():
            student = str(path / STUDENT)
            if self._model not in (None, student, cfg.get("model", self._model)):
                about = {"path": student, "model": self._model, "name": self.name}
                warnings.warn(Errors.U191.format(**about), stacklevel=2)
            self.engine.model = student
        return self

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """Labels and the whole student as bytes.

        exclude (Iterable[str]): "student" leaves it out.
        """
        data: dict[str, Any] = {"cfg": self._to_cfg()}
        if isinstance(self.engine, Portable) and STUDENT not in exclude:
            data[STUDENT] = pack_student(self.engine)
        return srsly.msgpack_dumps(data)

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> "UniversalNER":
        """Take the labels, and use the student, which is written to the cache."""
        content = srsly.msgpack_loads(data)
        self._labels = check_labels(content["cfg"]["labels"])
        if isinstance(self.engine, Portable) and STUDENT not in exclude and STUDENT in content:
            self.engine.model = str(unpack_student(content[STUDENT]))
        return self

    def _to_cfg(self) -> dict[str, Any]:
        labels = {"labels": simplify_labels(self._labels), "configured": simplify_labels(self._configured)}
        return {**labels, "model": self._model}


def _by_type(predictions: Sequence[Prediction]) -> dict[str, Prediction]:
    return {prediction.type: prediction for prediction in predictions}
