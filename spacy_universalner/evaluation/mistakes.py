"""What went wrong, by kind. Each gold entity and each predicted span is in one mistake at most.

nervaluate counts such kinds too, but expects one label per token (its issue 84). Types are asked about one by one here,
so that spans overlap and one has several types; which of them comes first in a list would then change its counts.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ..gold.readers import Span
from .metrics import pair_overlapping
from .rows import Row, check_row

# What gold and predicted spans that are not right are paired by, in this order.
PAIRED: dict[str, Callable[[Span], Any]] = {
    "boundary": lambda span: span[2],
    "type": lambda span: span[:2],
    "boundary+type": lambda span: None,
}
KINDS = (*PAIRED, "missed", "invented")


@dataclass(frozen=True)
class Mistake:
    """A mistake.

    kind (str): "boundary": another span of the same type that overlaps. "type": the same span, another type.
        "boundary+type": another span of another type that overlaps. "missed": gold alone. "invented": predicted alone,
        which may still overlap an entity that another prediction was right or wrong about.
    gold (tuple | None): (start, end, type) of the entity.
    predicted (tuple | None): that of the span.
    """

    kind: str
    gold: Span | None = None
    predicted: Span | None = None


def find_mistakes(row: Row) -> list[Mistake]:
    """The mistakes in a prediction row.

    Spans that are right are left out first; the others are paired as boundary mistakes, as many as there can be (they
    are those that count one half in the partial scores), then as type mistakes, then as both. What is left over is
    missed or invented. The order of the spans in the row does not matter.

    RAISES (UniversalNERError): a row that cannot be scored.
    """
    check_row(row)
    gold, predicted = (set(map(tuple, row[name])) for name in ("gold", "predicted"))
    gold, predicted = gold - predicted, predicted - gold
    found: list[Mistake] = []
    for kind, key in PAIRED.items():
        for group in sorted({key(span) for span in gold} & {key(span) for span in predicted}):
            both = ([span for span in spans if key(span) == group] for spans in (gold, predicted))
            found += [Mistake(kind, *pair) for pair in pair_overlapping(*both)]
        gold -= {mistake.gold for mistake in found}
        predicted -= {mistake.predicted for mistake in found}
    found += [Mistake("missed", gold=span) for span in sorted(gold)]
    found += [Mistake("invented", predicted=span) for span in sorted(predicted)]
    return found


def count_mistakes(rows: Iterable[Row]) -> dict[str, int]:
    """How many spans are right and how many mistakes of each kind there are.

    RETURNS (dict): "correct" and KINDS. Gold spans are the correct, the missed and the three kinds of pairs; predicted
        ones are the correct, the invented and those pairs.
    """
    counts = Counter({"correct": 0, **dict.fromkeys(KINDS, 0)})
    for row in rows:
        found = find_mistakes(row)
        counts.update(mistake.kind for mistake in found)
        counts["correct"] += len(set(map(tuple, row["gold"]))) - sum(mistake.gold is not None for mistake in found)
    return dict(counts)


def sample_mistakes(rows: Iterable[Row], limit: int = 10, seed: int = 0) -> dict[str, list[dict[str, Any]]]:
    """Draw examples of each kind of mistake, the same for the same rows and seed.

    limit (int): how many of each kind.
    RETURNS (dict): by kind, in the order of the rows: "set", "id", "text", "gold" and "predicted" ([start, end, type]
        or None), and the "score" of the predicted span (or None).
    """
    found: dict[str, list[tuple[Row, Mistake]]] = {kind: [] for kind in KINDS}
    for row in rows:
        for mistake in find_mistakes(row):
            found[mistake.kind].append((row, mistake))
    rng = random.Random(seed)
    drawn = {kind: sorted(rng.sample(range(len(all_)), min(limit, len(all_)))) for kind, all_ in found.items()}
    return {kind: [_describe(*found[kind][i]) for i in places] for kind, places in drawn.items()}


def _describe(row: Row, mistake: Mistake) -> dict[str, Any]:
    scores = dict(zip(map(tuple, row["predicted"]), row.get("scores", ()), strict=False))
    return {
        **{key: row.get(key, "") for key in ("set", "id", "text")},
        "gold": mistake.gold and list(mistake.gold),
        "predicted": mistake.predicted and list(mistake.predicted),
        "score": scores.get(mistake.predicted),
    }
