"""The `universal_ner` pipeline component: entities of whatever types the user names."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from spacy.language import Language
from spacy.pipeline import Pipe
from spacy.pipeline.span_ruler import prioritize_existing_ents_filter
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import minibatch

from . import engines  # noqa: F401  (registers the engines)
from .errors import Errors, UniversalNERError
from .prompts import name_fault
from .records import Prediction, read_json, write_json
from .registry import Engine, Portable
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
        "spans_key": NAME,
        "alignment_mode": "strict",
        "max_passage_tokens": 256,
        "overlap_tokens": 32,
        "scorer": {"@scorers": "spacy.ner_scorer.v1"},
    },
    default_score_weights={"ents_f": 1.0, "ents_p": 0.0, "ents_r": 0.0, "ents_per_type": None},
)
def make_universal_ner(
    nlp: Language,
    name: str,
    labels: list[str],
    engine: Engine,
    spans_key: str,
    alignment_mode: Literal["strict", "contract", "expand"],
    max_passage_tokens: int,
    overlap_tokens: int,
    scorer: Callable[..., dict[str, Any]] | None,
) -> "UniversalNER":
    """Make the component. See UniversalNER for the arguments."""
    return UniversalNER(
        name,
        labels=labels,
        engine=engine,
        spans_key=spans_key,
        alignment_mode=alignment_mode,
        max_passage_tokens=max_passage_tokens,
        overlap_tokens=overlap_tokens,
        scorer=scorer,
    )


class UniversalNER(Pipe):
    """Finds the entities of the types it is asked for.

    `doc.ents` gets the entities without overlaps, longest first, beside those that were there; `doc.spans[spans_key]`
    gets all of them. What could not be used is in `doc.user_data["universal_ner"]`: a list of {"label", "text",
    "reason"}, where the reason is "not in the text", "not at token boundaries" or "cut off".

    name (str): name of the component in its pipeline.
    labels (list[str]): the entity types to find, in the user's words.
    engine (Engine): what answers the questions.
    spans_key (str): key of the span group with all entities.
    alignment_mode (str): what to do with an entity that cuts through a token: "strict" leaves it out, "contract" and
        "expand" move its edges (as in Doc.char_span).
    max_passage_tokens (int): longer documents are asked about in windows of so many words and punctuation marks.
    overlap_tokens (int): how many of them a window may share with the next, at most; a quarter of a window where it is
        more.
    scorer (Callable | None): used by `score`.
    RAISES (UniversalNERError): a label that is not usable, or listed twice.
    """

    def __init__(
        self,
        name: str = NAME,
        *,
        labels: Iterable[str] = (),
        engine: Engine,
        spans_key: str = NAME,
        alignment_mode: str = "strict",
        max_passage_tokens: int = 256,
        overlap_tokens: int = 32,
        scorer: Callable[..., dict[str, Any]] | None = None,
    ):
        self.name = name
        self.engine = engine
        self.spans_key = spans_key
        self.alignment_mode = alignment_mode
        self.max_passage_tokens = max_passage_tokens
        self.overlap_tokens = overlap_tokens
        self.scorer = scorer
        self._labels = check_labels(labels)

    @property
    def labels(self) -> tuple[str, ...]:
        """The entity types asked for."""
        return self._labels

    def add_label(self, label: str) -> int:
        """Ask for one more type. RETURNS (int): 1, or 0 if it was asked for already."""
        if label in self._labels:
            return 0
        self._labels = check_labels((*self._labels, label))
        return 1

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: Sequence[str] | None = None,
    ) -> None:
        """Set the labels: those given, else the entity types of the examples if none were configured."""
        if labels is None and not self._labels:
            labels = sorted({ent.label_ for example in get_examples() for ent in example.reference.ents})
        if labels is not None:
            self._labels = check_labels(labels)

    def __call__(self, doc: Doc) -> Doc:
        """Annotate one doc. RAISES (UniversalNERError): no labels, no student, a passage that does not fit."""
        self.annotate([doc])
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Annotate a stream of docs, a batch at a time; a failing batch goes to the pipeline's error handler."""
        handle = self.get_error_handler()
        for batch in minibatch(stream, size=batch_size):
            docs = list(batch)
            try:
                self.annotate(docs)
            except Exception as err:  # spaCy's contract: whatever it is, the handler decides
                handle(self.name, self, docs, err)
            else:
                yield from docs

    def annotate(self, docs: Sequence[Doc]) -> None:
        """Predict and write to the docs."""
        for doc, predictions in zip(docs, self.predict(docs), strict=True):
            self.set_annotations(doc, predictions)

    def predict(self, docs: Sequence[Doc], labels: Sequence[Sequence[str]] | None = None) -> list[list[Prediction]]:
        """Ask about docs without changing them.

        docs (Sequence[Doc]): the docs.
        labels (Sequence | None): the types asked of each doc; None asks the component's own of all.
        RETURNS (list): for each doc, one prediction per label.
        RAISES (UniversalNERError): no labels, or not one list of them per doc.
        """
        if labels is None:
            if not self._labels:
                raise UniversalNERError(Errors.U040.format())
            labels = [self._labels] * len(docs)
        if len(labels) != len(docs):
            raise UniversalNERError(Errors.U043.format(docs=len(docs), labels=len(labels)))
        texts = [doc.text for doc in docs]
        return ask(self.engine, texts, labels, max_tokens=self.max_passage_tokens, overlap=self.overlap_tokens)

    def set_annotations(self, doc: Doc, predictions: Sequence[Prediction]) -> None:
        """Write predictions to a doc's entities and span group, and what could not be used to its user data."""
        spans: list[Span] = []
        unused: list[dict[str, str]] = []
        for prediction in predictions:
            unused += [{"label": prediction.type, "text": m, "reason": "not in the text"} for m in prediction.lost]
            if not prediction.complete:
                unused.append({"label": prediction.type, "text": "", "reason": "cut off"})
            for start, end in prediction.spans:
                span = doc.char_span(start, end, label=prediction.type, alignment_mode=self.alignment_mode)
                if span is None:
                    text = doc.text[start:end]
                    unused.append({"label": prediction.type, "text": text, "reason": "not at token boundaries"})
                else:
                    spans.append(span)
        doc.spans[self.spans_key] = sorted(set(spans))  # two mentions in one token are one span when it is expanded
        doc.ents = prioritize_existing_ents_filter(doc.ents, spans)
        doc.user_data[NAME] = unused

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Save labels and the whole student, so that the directory works anywhere."""
        path = Path(path)
        path.mkdir(parents=True, exist_ok=True)
        write_json(path / "cfg.json", {"labels": list(self._labels)})
        if isinstance(self.engine, Portable) and STUDENT not in exclude:
            self.engine.save_model(str(path / STUDENT))

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> "UniversalNER":
        """Load labels, and use the student in the directory."""
        path = Path(path)
        self._labels = check_labels(read_json(path / "cfg.json")["labels"])
        if isinstance(self.engine, Portable) and STUDENT not in exclude and (path / STUDENT).is_dir():
            self.engine.model = str(path / STUDENT)
        return self


def check_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Labels as they may be asked.

    RAISES (UniversalNERError): one that is empty, holds a line break or another control character, or occurs twice.
    """
    labels = tuple(labels)
    for label in labels:
        reason = name_fault(label)
        if reason:
            raise UniversalNERError(Errors.U042.format(label=label, reason=reason))
        if labels.count(label) > 1:
            raise UniversalNERError(Errors.U041.format(label=label, count=labels.count(label), labels=list(labels)))
    return labels
