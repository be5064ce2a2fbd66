"""A system of the benchmark: a spaCy pipeline, how it is asked about a data set, and how its answers are read."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeAlias

import spacy
from confection import Config
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.util import is_package, load_model_from_config

from ..errors import Errors, UniversalNERError
from ..gold.datasets import DataSet
from ..provenance import hash_code
from ..records import Prediction, sha256_file, sha256_json
from ..schemas import load_system_settings
from . import token_classifier  # noqa: F401  (registers the factory)

Predict: TypeAlias = Callable[[list[str], list[list[str]]], list[list[Prediction]]]
PLACE = "{set}"
# What spacy-llm says of every model without a context length; ours has none, so that texts stay as they are.
NO_SHARDS = "Task supports sharding"


def load_system(config: Path) -> "System":
    """Read a system from a file, as in configs/systems/. Its pipeline is made when it is prepared for a data set.

    RAISES (UniversalNERError): a missing or unreadable file, or all that is wrong in it at once.
    """
    settings, pipeline = load_system_settings(config)
    return System(config.stem, config=pipeline, source=config, **settings.model_dump())


def load_systems(names: str, folder: Path) -> list["System"]:
    """Read several systems.

    names (str): files of the folder by their names, or others by their paths; with commas between.
    folder (Path): folder of system files, configs/systems.
    RAISES (UniversalNERError): an unknown name, a name that stands for two systems; otherwise as `load_system`.
    """
    known = {path.stem: path for path in sorted(folder.glob("*.cfg"))}
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if unknown := [name for name in wanted if name not in known and not Path(name).is_file()]:
        raise UniversalNERError(Errors.U256.format(unknown=", ".join(unknown), known=", ".join(known)))
    systems = [load_system(known.get(name, Path(name))) for name in wanted]
    if len({system.name for system in systems}) < len(systems):
        raise UniversalNERError(Errors.U257.format(names=", ".join(system.name for system in systems)))
    return systems


class System:
    """A row of the benchmark's table.

    name (str): short name, that of its file.
    title (str): what it is called in the table.
    config (Mapping): the spaCy config of its pipeline, where it names none.
    source (Path): the file it was read from, for messages.
    pipeline (str | None): folder or package of its pipeline, with {set} where the name of the data set goes.
    component (str): the component that is asked.
    asked (str): how: "types" by its `predict(docs, types)`, "labels" with the types of the set as its labels, "fixed"
        with the labels it has.
    words (Mapping | None): the type that each label is, where it is not the type itself.
    spans_key (str | None): key of the span group that holds what was found; None for doc.ents.
    score (str | None): extension of a span that holds its score. A group with scores as its attribute needs none.
    tell_dataset (bool): tell the component's engine the name of the set, where it has learnt from it; of others it is
        told none, as in zero-shot use (universalner.md, section 3).
    trained_on (Sequence[str]): names of the sets it has learnt from, {set} for each set that it is asked about.
    batch_size (int): texts per batch.
    """

    def __init__(
        self,
        name: str,
        *,
        title: str,
        config: Mapping[str, Any],
        source: Path,
        pipeline: str | None,
        component: str,
        asked: Literal["types", "labels", "fixed"],
        words: Mapping[str, str] | None = None,
        spans_key: str | None = None,
        score: str | None = None,
        tell_dataset: bool = False,
        trained_on: Sequence[str] = (),
        batch_size: int = 64,
    ):
        self.name = name
        self.title = title
        self.source = source
        self.batch_size = batch_size
        self.lacking: dict[str, tuple[str, ...]] = {}
        """The types of each set it was prepared for that it has no label for."""
        self._config = config
        self._pipeline = pipeline
        self._component = component
        self._asked = asked
        self._words = dict(words or {})
        self._spans_key = spans_key
        self._score = score
        self._tell_dataset = tell_dataset
        self._trained_on = tuple(trained_on)
        self._made: tuple[str | None, Language] | None = None

    def prepare(self, dataset: DataSet) -> Predict:
        """Make the pipeline ready for a data set.

        RETURNS (Callable): takes texts and the types asked of each, gives one prediction per text and type, in order.
        RAISES (UniversalNERError): the pipeline cannot be made, or lacks what it is asked by. Types without a label are
            answered with nothing; they are in `lacking`, and a warning tells them.
        """
        if self._asked == "types":
            return self._prepare_types(dataset)
        nlp = self._make(dataset)
        if self._asked == "labels":
            self._set_labels(nlp, dataset.types)
        else:
            self._check_labels(nlp, dataset)
        return lambda texts, types: [
            self._read(doc, names) for doc, names in zip(self._annotate(nlp, texts), types, strict=True)
        ]

    def list_trained(self, dataset: DataSet) -> tuple[str, ...]:
        """The sets that what is asked about this one has learnt from."""
        return tuple(name.replace(PLACE, dataset.name) for name in self._trained_on)

    def fingerprint(self, dataset: DataSet) -> str:
        """A hash that changes where its answers about a set may: of its file, of this package's code, of the version of
        its own package, and of the files of its pipeline or of the folders its config names, by their names, sizes and
        times. What its config names elsewhere, as on a hub, is taken to stay as it is."""
        where = self._pipeline and self._pipeline.replace(PLACE, dataset.name)
        named = [where] if where else list(_list_words(self._config))
        folders = [Path(name) for name in named if Path(name).is_dir()]
        files = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
        about = [(path.as_posix(), (status := path.stat()).st_size, status.st_mtime_ns) for path in files]
        package = version(where) if where and is_package(where) else ""
        return sha256_json([sha256_file(self.source), hash_code(), about, package])

    def release(self) -> None:
        """Let go of its pipeline, and of the memory it takes."""
        self._made = None

    def _prepare_types(self, dataset: DataSet) -> Predict:
        nlp = self._make(dataset)
        pipe = self._get(nlp, "predict", "that is asked types (predict)")
        if self._tell_dataset:
            if not hasattr(getattr(pipe, "engine", None), "dataset"):
                raise self._no_component(nlp, "whose engine is told data sets")
            pipe.engine.dataset = dataset.name if dataset.name in self.list_trained(dataset) else ""

        def predict(texts: list[str], types: list[list[str]]) -> list[list[Prediction]]:
            return pipe.predict([nlp.make_doc(text) for text in texts], types)

        return predict

    def _make(self, dataset: DataSet) -> Language:
        """The pipeline for a set; one that serves the next set too is kept."""
        where = self._pipeline and self._pipeline.replace(PLACE, dataset.name)
        if self._made is None or self._made[0] != where:
            self._made = None  # let go of its memory first
            self._made = where, self._open(where)
        return self._made[1]

    def _open(self, where: str | None) -> Language:
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=NO_SHARDS)
                return spacy.load(where) if where else load_model_from_config(Config(self._config), auto_fill=True)
        except UniversalNERError:
            raise
        except (ValueError, OSError, ImportError, KeyError) as err:  # what spaCy and the components' libraries say
            reason = f"{type(err).__name__}: {' '.join(str(err).split())}"
            raise UniversalNERError(Errors.U242.format(name=self.name, reason=reason, path=self.source)) from err

    def _get(self, nlp: Language, attribute: str, expected: str) -> Any:
        pipe = nlp.get_pipe(self._component) if nlp.has_pipe(self._component) else None
        if not hasattr(pipe, attribute):
            raise self._no_component(nlp, expected)
        return pipe

    def _no_component(self, nlp: Language, expected: str) -> UniversalNERError:
        about = {"component": self._component, "expected": expected, "pipes": ", ".join(nlp.pipe_names) or "none"}
        return UniversalNERError(Errors.U243.format(name=self.name, **about))

    def _set_labels(self, nlp: Language, types: Iterable[str]) -> None:
        """Have a component look for these types: by its methods if it has some, else by its attribute."""
        pipe = self._get(nlp, "labels", "that has labels")
        if hasattr(pipe, "clear") and hasattr(pipe, "add_label"):
            pipe.clear()
            for name in types:
                pipe.add_label(name)
        else:
            pipe.labels = list(types)

    def _check_labels(self, nlp: Language, dataset: DataSet) -> None:
        labels = self._get(nlp, "labels", "that has labels").labels
        known = {self._words.get(label, label) for label in labels}
        self.lacking[dataset.name] = lacking = tuple(name for name in dataset.types if name not in known)
        if lacking:
            about = {"types": ", ".join(lacking), "labels": ", ".join(labels) or "none"}
            warnings.warn(Errors.U244.format(name=self.name, dataset=dataset.name, **about), stacklevel=3)

    def _annotate(self, nlp: Language, texts: Sequence[str]) -> Iterator[Doc]:
        for text, doc in zip(texts, nlp.pipe(texts, batch_size=self.batch_size), strict=True):
            if doc.text != text:
                raise UniversalNERError(Errors.U249.format(name=self.name, got=doc.text[:80], expected=text[:80]))
            yield doc

    def _read(self, doc: Doc, types: Iterable[str]) -> list[Prediction]:
        """What was found of each type, each place once."""
        found: dict[str, dict[tuple[int, int], float | None]] = {}
        for span, score in self._spans(doc):
            of_type = found.setdefault(self._words.get(span.label_, span.label_), {})
            place = (span.start_char, span.end_char)
            of_type[place] = max((score, of_type.get(place)), key=lambda known: -1 if known is None else known)
        return [_predict(name, doc.text, found.get(name, {})) for name in types]

    def _spans(self, doc: Doc) -> Iterator[tuple[Span, float | None]]:
        spans = doc.ents if self._spans_key is None else doc.spans.get(self._spans_key, ())
        if self._score:
            return ((span, float(span._.get(self._score))) for span in spans)
        scores = getattr(spans, "attrs", {}).get("scores")
        return zip(spans, [None] * len(spans) if scores is None else map(float, scores), strict=True)


def _list_words(value: Any) -> Iterator[str]:
    """All strings in a config."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _list_words(item)


def _predict(name: str, text: str, found: Mapping[tuple[int, int], float | None]) -> Prediction:
    spans = tuple(sorted(found))
    scores = tuple(found[span] for span in spans)
    mentions = tuple(dict.fromkeys(text[start:end] for start, end in spans))
    return Prediction(name, mentions=mentions, spans=spans, scores=() if None in scores else scores)
