"""How far a run's scores can be trusted: what `evaluate` measured of them, as tables, pictures and numbers."""

from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from .drawing import draw_precision_recall, draw_reliability
from .tables import Cell, Table

NO_SCORES = "No predicted span has a score: the engine gives none, or nothing was predicted."
DEV, ZERO_SHOT = "dev", "zero-shot, all sets"
FACTS = ("spans", "f1", "best_f1", "best_threshold", "average_precision", "mean_score", "share_right", "ece", "brier")
CURVE_CAPTION = (
    "Precision over recall, a threshold falling from the highest score at the left to 0 at the right, where every span "
    "is kept. A steep fall from a high start means that a threshold buys precision; a flat line, that it only costs "
    "recall. Recall counts all gold entities, so a line ends where the student found no more. A ring marks the best F1."
)
BINS_CAPTION = (
    "Spans in bins by their score: those on the broken line are right as often as their score says, below it they are "
    "too sure, above it not sure enough. Bars are 95% intervals of the share right."
)
CURVE_NOTE = (
    "Strict spans: right means that type and both offsets are in the gold. F1 is that of all spans, threshold 0. The "
    "best F1 and its threshold were chosen on this very data: an upper bound of what a threshold can give, not a "
    "result. Average precision is the area under the curve, 100 if every gold entity were found before any wrong span."
)
CALIBRATION_NOTE = (
    "ECE, the expected calibration error, is how far mean score and share right are apart in a bin, averaged over the "
    "spans; of a small sample it is above 0 by chance alone. The Brier score is the mean squared distance of a score "
    "from 0 (wrong) or 1 (right), here from 0 to 100; always saying 50% makes 25. Right is what the gold has: an "
    "entity that its annotators left out counts as wrong."
)


def tabulate_confidence(dev: Mapping[str, Any], zero_shot: Mapping[str, Any]) -> list[Table]:
    """Thresholds, calibration and bins. RETURNS (list): the tables, none where no span has a score.

    dev (Mapping): the scores on the dev part.
    zero_shot (Mapping): the scores on the zero-shot sets.
    """
    measured = dict(_list_measured(dev, zero_shot))
    if not measured:
        return []
    from_dev = zero_shot.get("from_dev")
    tables = [_tabulate_thresholds(measured, from_dev), _tabulate_errors(measured, from_dev)]
    return [*tables, *(_tabulate_bins(name, measured[name]) for name in (DEV, ZERO_SHOT) if name in measured)]


def draw_confidence(dev: Mapping[str, Any], zero_shot: Mapping[str, Any]) -> list[tuple[Markup, str]]:
    """The curve of precision and recall and the reliability diagram, with their captions; none without scores."""
    measured = dict(_list_measured(dev, zero_shot))
    if not measured:
        return []
    main = {name: facts for name, facts in measured.items() if name in (DEV, ZERO_SHOT)}
    bins = {name: facts["bins"] for name, facts in main.items()}
    if from_dev := zero_shot.get("from_dev"):
        bins["zero-shot, calibrated"] = from_dev["after"]["bins"]
    curves = {name: facts["curve"] for name, facts in measured.items()}
    beside = {name: curve for name, curve in curves.items() if name not in main}
    return [
        (draw_precision_recall({name: curves[name] for name in main}, beside), CURVE_CAPTION),
        (draw_reliability(bins), BINS_CAPTION),
    ]


def summarize_confidence(dev: Mapping[str, Any], zero_shot: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of the dev part and of all zero-shot sets together, None where no span has a score."""
    both = {"dev": dev.get("confidence"), "zero_shot": zero_shot.get("confidence")}
    return {name: {key: facts[key] for key in FACTS} if facts else None for name, facts in both.items()}


def _list_measured(dev: Mapping[str, Any], zero_shot: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What was measured, by where: dev, each set, and all sets."""
    sets = [(name, scores.get("confidence")) for name, scores in zero_shot.get("sets", {}).items()]
    for name, facts in [(DEV, dev.get("confidence")), *sets, (ZERO_SHOT, zero_shot.get("confidence"))]:
        if facts:
            yield name, facts


def _tabulate_thresholds(measured: Mapping[str, Mapping[str, Any]], from_dev: Mapping[str, Any] | None) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (
            name,
            *(facts[key] for key in ("gold", "spans", "f1", "best_f1")),
            f"{facts['best_threshold']:.3f}",
            facts["average_precision"],
        )
        for name, facts in measured.items()
    ]
    notes = [CURVE_NOTE]
    if from_dev:
        at = "At the threshold that is best on dev, {threshold:.3f}, the zero-shot sets together have precision "
        notes.append((at + "{precision:.1f}, recall {recall:.1f}, F1 {f1:.1f}.").format(**from_dev["threshold"]))
    if unscored := sum(facts["unscored"] for name, facts in measured.items() if name in (DEV, ZERO_SHOT)):
        notes.append(f"Spans without a score, left out here: {unscored}.")
    header = ("set", "gold", "spans", "F1", "best F1", "at threshold", "average precision")
    return Table("Precision and recall by threshold", header, rows, " ".join(notes))


def _tabulate_errors(measured: Mapping[str, Mapping[str, Any]], from_dev: Mapping[str, Any] | None) -> Table:
    known = {name: (facts["spans"], facts) for name, facts in measured.items()}
    note = CALIBRATION_NOTE
    if from_dev:
        known[f"{ZERO_SHOT}, calibrated"] = measured[ZERO_SHOT]["spans"], from_dev["after"]
        note += (
            f" The last line is after a calibration fitted to {from_dev['spans']} dev spans and to nothing else, "
            f"sigmoid({from_dev['slope']} logit(score) {from_dev['bias']:+}), which is no part of the pipeline."
        )
    rows: list[tuple[Cell, ...]] = [
        (name, spans, *(100 * facts[key] for key in ("mean_score", "share_right", "ece", "brier")))
        for name, (spans, facts) in known.items()
    ]
    return Table("Calibration", ("set", "spans", "mean score %", "right %", "ECE %", "Brier"), rows, note)


def _tabulate_bins(name: str, facts: Mapping[str, Any]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (b["count"], *(100 * b[key] for key in ("score", "right", "low", "high"))) for b in facts["bins"]
    ]
    note = "Spans by their score, about as many in each bin; from and to: the 95% interval of the share right."
    return Table(f"Reliability, {name}", ("spans", "mean score %", "right %", "from", "to"), rows, note)
