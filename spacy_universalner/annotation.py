"""Predictions as spaCy has them: entities without overlaps, and groups of spans with scores."""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from spacy.tokens import Doc, Span, SpanGroup

from .align import choose_flat
from .errors import Errors, UniversalNERError
from .records import Prediction

SCORES = "scores"
Scored: TypeAlias = dict[Span, float | None]
Unused: TypeAlias = list[dict[str, str]]


def scored(doc: Doc, key: str = "universal_ner") -> list[tuple[Span, float | None]]:
    """The spans of a group, each with its score.

    doc (Doc): an annotated doc.
    key (str): key of the group in doc.spans.
    RETURNS (list): (span, score) pairs in the order of the group; the score is None where the engine has none.
    RAISES (UniversalNERError): the group was changed since, and scores cannot be told to be whose.
    """
    group = doc.spans[key]
    scores = group.attrs.get(SCORES, [None] * len(group))
    if len(scores) != len(group):
        raise UniversalNERError(Errors.U183.format(key=key, spans=len(group), scores=len(scores)))
    return list(zip(group, scores, strict=True))


def collect(
    doc: Doc, predictions: Iterable[Prediction], *, alignment_mode: str, threshold: float
) -> tuple[Scored, Unused]:
    """The spans of predictions, with their scores, and what cannot be used of them.

    The order of the predictions does not matter.

    alignment_mode (str): see Doc.char_span.
    threshold (float): lowest score of a span.
    RAISES (UniversalNERError): there is a threshold, but no scores.
    """
    text = doc.text  # which is put together anew each time
    predictions = sorted(predictions, key=lambda prediction: prediction.type)
    have_scores = any(prediction.scores for prediction in predictions)
    spans: Scored = {}
    unused: Unused = []
    for prediction in predictions:
        if threshold and prediction.spans and not have_scores:
            raise UniversalNERError(Errors.U181.format(threshold=threshold))
        unused += [_unused(prediction, mention, "not in the text") for mention in prediction.lost]
        if not prediction.complete:
            unused.append(_unused(prediction, "", "cut off"))
        for (start, end), score in zip(prediction.spans, _scores(prediction, have_scores), strict=True):
            span = doc.char_span(start, end, label=prediction.type, alignment_mode=alignment_mode)
            if span is None:
                unused.append(_unused(prediction, text[start:end], "not at token boundaries"))
            elif score is not None and score < threshold:
                unused.append(_unused(prediction, text[start:end], "below the threshold"))
            else:  # two mentions in one token are one span when it is expanded
                spans[span] = score if score is None else max(score, spans.get(span) or 0.0)
    return spans, unused


def make_group(doc: Doc, key: str, spans: Scored) -> SpanGroup:
    """All spans in reading order, with their scores as the attribute "scores" unless the engine has none."""
    ordered = sorted(spans, key=lambda span: (span.start, span.end, span.label_))
    scores = [spans[span] for span in ordered]
    return SpanGroup(doc, name=key, spans=ordered, attrs={} if None in scores else {SCORES: scores})


def choose_ents(earlier: Sequence[Span], spans: Scored, *, overwrite: bool) -> list[Span]:
    """Entities that do not overlap, see `choose_flat`.

    earlier (Sequence): the entities that were there.
    overwrite (bool): whether those give way to spans that overlap them.
    """
    taken = set() if overwrite else _tokens(earlier)
    free = {(s.start, s.end, s.label_): s for s in spans if taken.isdisjoint(range(s.start, s.end))}
    chosen = [free[place] for place in choose_flat({place: spans[span] for place, span in free.items()})]
    new = _tokens(chosen)
    return [ent for ent in earlier if new.isdisjoint(range(ent.start, ent.end))] + chosen


def _tokens(spans: Iterable[Span]) -> set[int]:
    return {i for span in spans for i in range(span.start, span.end)}


def _scores(prediction: Prediction, have_scores: bool) -> Sequence[float | None]:
    """A score for each span. Where others have scores, one that is not known is as low as can be."""
    return prediction.scores or [0.0 if have_scores else None] * len(prediction.spans)


def _unused(prediction: Prediction, text: str, reason: str) -> dict[str, str]:
    return {"label": prediction.type, "text": text, "reason": reason}
