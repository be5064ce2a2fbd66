"""Reading gold from `.spacy` files."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from spacy.tokens import Doc, DocBin, Span
from spacy.vocab import Vocab

from ..errors import Errors, UniversalNERError
from .readers import Example, divide

ENDING = ".spacy"
Labels = Mapping[str, str | None]


def name_labels(tags: Iterable[str]) -> dict[str, str]:
    """Words for the tags of a set that comes without a map: WORK_OF_ART is asked for as "work of art"."""
    return {tag: " ".join(tag.replace("_", " ").lower().split()) for tag in tags}


def list_files(path: Path) -> list[Path]:
    """The `.spacy` files of a folder, or the file named. RAISES (UniversalNERError): there is none."""
    files = sorted(path.rglob(f"*{ENDING}")) if path.is_dir() else [path]
    if not files:
        hint = "Write some with DocBin.to_disk or `spacy convert`."
        raise UniversalNERError(Errors.U004.format(path=path, kind=f"{ENDING} file", hint=hint))
    return files


def read_docs(
    files: Iterable[Path], *, name: str, labels: Labels | None, spans_key: str | None
) -> tuple[list[Example], Counter[str]]:
    """Read the sentences of annotated docs; one without sentence boundaries is a sentence.

    A sentence with tokens whose entities are missing, rather than absent, is set aside: nobody knows its answers.

    files (Iterable[Path]): the `.spacy` files.
    name (str): the data set.
    labels (Mapping): the words asked for each label, None for one that is left out; None for all labels in lower case.
    spans_key (str): read doc.spans[spans_key]; None for doc.ents.
    RETURNS (tuple): the sentences, and counts of what was set aside.
    RAISES (UniversalNERError): a missing or damaged file, labels the map does not know, nothing to learn from.
    """
    files = list(files)
    docs = [doc for path in files for doc in _load(path)]
    tags = sorted({span.label_ for doc in docs for span in _spans(doc, spans_key)})
    labels = name_labels(tags) if labels is None else labels
    if unknown := [tag for tag in tags if labels.get(tag, "") == ""]:
        about = {"path": files[0], "unknown": ", ".join(map(repr, unknown)), "known": ", ".join(labels) or "nothing"}
        raise UniversalNERError(Errors.U157.format(name=name, **about))
    types = tuple(dict.fromkeys(label for label in labels.values() if label))
    examples: list[Example] = []
    set_aside: Counter[str] = Counter()
    for number, doc in enumerate(docs):
        spans = frozenset((*_visible(span), label) for span in _spans(doc, spans_key) if (label := labels[span.label_]))
        whole = Example(f"{name}-train-{number}", doc.text, types, spans)
        sentences = list(doc.sents) if len(doc) and doc.has_annotation("SENT_START") else [doc[:]]
        pieces = [(s.start_char, s.end_char) for s in sentences if _is_annotated(s, spans_key)]
        parts = divide(whole, pieces)
        examples += parts
        set_aside["sentences not annotated"] += len(sentences) - len(pieces)
        set_aside["entities not in one sentence"] += len(spans) - sum(len(part.spans) for part in parts)
    if not examples:
        expected = "entities in doc.ents" if spans_key is None else f"spans in doc.spans[{spans_key!r}]"
        about = {"read": len(docs), "set_aside": dict(+set_aside), "expected": expected}
        raise UniversalNERError(Errors.U158.format(path=files[0], name=name, **about))
    return examples, +set_aside


def _load(path: Path) -> list[Doc]:
    if not path.is_file():
        raise UniversalNERError(Errors.U001.format(path=path, hint=f"Name a {ENDING} file, or a folder of them."))
    try:
        return list(DocBin().from_disk(path).get_docs(Vocab()))
    except (ValueError, TypeError, LookupError) as err:
        raise UniversalNERError(Errors.U100.format(path=path, reason=f"{type(err).__name__}: {err}")) from err


def _spans(doc: Doc, spans_key: str | None) -> list[Span]:
    return list(doc.ents if spans_key is None else doc.spans.get(spans_key, ()))


def _is_annotated(sentence: Span, spans_key: str | None) -> bool:
    if spans_key is None:
        return all(token.ent_iob for token in sentence)
    return spans_key in sentence.doc.spans


def _visible(span: Span) -> tuple[int, int]:
    """Offsets of a span without white space at its ends."""
    text = span.text.rstrip()
    return span.start_char + len(text) - len(text.lstrip()), span.start_char + len(text)
