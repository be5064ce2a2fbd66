"""Pictures that stand in a page: curves and histograms as SVG, passages with their entities by displaCy."""

import io
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from html import escape
from itertools import pairwise
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from spacy import displacy

COLORS = ("#bfe1d9", "#ffd8b1", "#d5d0f0", "#f7c8d6", "#c7dcf5", "#e2e9b0", "#f3e2a0", "#dccfc4")
BARS = ("#9db8d2", "#1f5f99", "#b3470b", "#7a7a7a", "#5f8f3f")
MAIN = (BARS[1], BARS[2], BARS[4])
THIN = ("#e3a857", "#8f6fc0", "#d9829b", "#4fa3a5", "#9aa33a", "#a08070", "#7d93c9")
"""The lines beside the main ones."""
LINES = ("#1f5f99", "#b3470b", "#5f8f3f", "#7a7a7a")
JOIN = "\uffff"
"""Ends a segment that displaCy would set apart from the next by a space of its own."""
SPAN_OFFSETS = {"top_offset": 25, "top_offset_step": 19, "span_label_offset": 21}
SPAN_TEMPLATE = {
    "span": '<span class="mention" style="min-height:{total_height}px">{text}{span_slices}{span_starts}</span>',
    "slice": '<span class="bar" style="background:{bg};top:{top_offset}px"></span>',
    "start": '<span class="row"><span class="label" style="background:{bg};top:calc({top_offset}px - 24px)">'
    "{label}{kb_link}</span></span>",
}


def draw_loss(log: Iterable[Mapping[str, Any]]) -> Markup:
    """The loss over the steps, training and dev. RETURNS (Markup): inline SVG, empty without a loss in the log."""
    train, dev = ([(row["step"], row[key]) for row in log if key in row] for key in ("loss", "dev_loss"))
    if not train and not dev:
        return Markup()
    with _style("loss"):
        figure = Figure(figsize=(7.2, 3.4), layout="constrained")
        axes = figure.add_subplot(xlabel="step", ylabel="loss")
        if train:
            axes.plot(*zip(*train, strict=True), color="#9db8d2", linewidth=0.8, label="training")
            axes.plot(*zip(*_smooth(train), strict=True), color="#1f5f99", linewidth=1.8, label="training, moving mean")
        if dev:
            axes.plot(*zip(*dev, strict=True), color="#b3470b", marker="o", markersize=5, linewidth=1.5, label="dev")
        _strip(axes)
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)
        return _to_svg(figure, f"Loss over {len(train)} logged steps of training and {len(dev)} dev evaluations.")


def draw_curves(lines: Mapping[str, Sequence[tuple[float, float]]], *, xlabel: str, ylabel: str) -> Markup:
    """Numbers over sizes that double from point to point.

    lines (Mapping): (size, number) of each point, by the name of its line.
    xlabel, ylabel (str): what the sizes are, and the numbers.
    RETURNS (Markup): inline SVG, empty without a point.
    """
    lines = {name: points for name, points in lines.items() if points}
    if not lines:
        return Markup()
    with _style(f"{ylabel} over {xlabel}"):
        figure = Figure(figsize=(7.2, 3.4), layout="constrained")
        axes = figure.add_subplot(xlabel=xlabel, ylabel=ylabel)
        axes.set_xscale("log", base=2)
        for i, (name, points) in enumerate(lines.items()):
            axes.plot(*zip(*points, strict=True), color=LINES[i % len(LINES)], marker="o", label=name)
        sizes = sorted({x for points in lines.values() for x, _ in points})
        axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
        axes.minorticks_off()
        _strip(axes)
        axes.set_ylim(bottom=0)
        if len(lines) > 1:
            axes.legend(frameon=False)
        said = "; ".join(f"{n}: {', '.join(f'{x:g} {y:.1f}' for x, y in points)}" for n, points in lines.items())
        return _to_svg(figure, f"{ylabel} over {xlabel}. {said}.")


def draw_histogram(counts: Mapping[int, int], *, of: str, per: str, bins: int = 40) -> Markup:
    """How many items have which size.

    counts (Mapping): items by their size.
    of (str): what the items are, in the plural.
    per (str): what a size is.
    bins (int): at most so many bars, each of the same whole number of sizes.
    RETURNS (Markup): inline SVG, empty without counts.
    """
    if not counts:
        return Markup()
    low, high, total = min(counts), max(counts), sum(counts.values())
    width = -(-(high - low + 1) // bins)
    edges = [edge - 0.5 for edge in range(low, high + width + 1, width)]
    with _style(f"histogram of {per}"):
        figure = Figure(figsize=(7.2, 2.8), layout="constrained")
        axes = figure.add_subplot(xlabel=per, ylabel=of)
        axes.set_axisbelow(True)
        axes.locator_params(integer=True, min_n_ticks=1)
        axes.hist(list(counts), weights=list(counts.values()), bins=edges, color="#1f5f99", rwidth=0.9)
        _strip(axes)
        return _to_svg(figure, f"{total} {of} by {per}, from {low} to {high}.")


def draw_bars(groups: Mapping[str, Mapping[str, float]], *, ylabel: str) -> Markup:
    """Numbers side by side.

    groups (Mapping): numbers by their names, by the name of a group; each group is a cluster of bars.
    ylabel (str): what the numbers are.
    RETURNS (Markup): inline SVG, empty without a number.
    """
    if not groups:
        return Markup()
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    width = 0.8 / len(names)
    with _style(f"bars of {ylabel}"):
        figure = Figure(figsize=(7.2, 3.4), layout="constrained")
        axes = figure.add_subplot(ylabel=ylabel)
        axes.set_axisbelow(True)
        for i, name in enumerate(names):
            places = [(place, group[name]) for place, group in enumerate(groups.values()) if name in group]
            xs = [place + (i - (len(names) - 1) / 2) * width for place, _ in places]
            bars = axes.bar(xs, [y for _, y in places], width * 0.9, label=name, color=BARS[i % len(BARS)])
            axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=10)
        axes.set_xticks(range(len(groups)), list(groups))
        _strip(axes)
        axes.legend(frameon=False)
        said = "; ".join(
            f"{group}: {', '.join(f'{n} {v:.1f}' for n, v in row.items())}" for group, row in groups.items()
        )
        return _to_svg(figure, f"{ylabel}. {said}.")


def draw_precision_recall(
    main: Mapping[str, Sequence[Sequence[float]]], beside: Mapping[str, Sequence[Sequence[float]]]
) -> Markup:
    """Precision over recall, as a threshold falls from the highest score to the lowest.

    main (Mapping): points of threshold, precision, recall and F1 (from 0 to 100), by the curve's name.
    beside (Mapping): more of them, drawn thinner.
    RETURNS (Markup): inline SVG, empty without a main curve. A ring is where F1 is best.
    """
    if not main:
        return Markup()
    with _style("precision and recall"):
        figure = Figure(figsize=(7.2, 4.2), layout="constrained")
        axes = figure.add_subplot(xlabel="recall", ylabel="precision", xlim=(0, 100), ylim=(0, 102))
        for i, (name, points) in enumerate(beside.items()):
            _draw_curve(axes, points, name, color=THIN[i % len(THIN)], linewidth=1)
        for i, (name, points) in enumerate(main.items()):
            _draw_curve(axes, points, name, color=MAIN[i % len(MAIN)], linewidth=2.2)
        _strip(axes)
        figure.legend(frameon=False, loc="outside right upper", fontsize=10)
        best = (f"{name}: best F1 {max(point[3] for point in points):.1f}" for name, points in main.items())
        return _to_svg(figure, f"Precision over recall. {'; '.join(best)}.")


def draw_reliability(series: Mapping[str, Sequence[Mapping[str, float]]]) -> Markup:
    """The share that is right over the score, which are the same where scores can be taken at their word.

    series (Mapping): bins with their mean score, the share right and its interval (low, high), by the series' name.
    RETURNS (Markup): inline SVG, empty without a series.
    """
    if not series:
        return Markup()
    with _style("reliability"):
        figure = Figure(figsize=(7.2, 4.2), layout="constrained")
        axes = figure.add_subplot(xlabel="mean score", ylabel="share right", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.plot([0, 1], [0, 1], color="#7a7a7a", linestyle="--", linewidth=1, label="as sure as right")
        for i, (name, bins) in enumerate(series.items()):
            xs, ys = [b["score"] for b in bins], [b["right"] for b in bins]
            reach = [[b["right"] - b["low"] for b in bins], [b["high"] - b["right"] for b in bins]]
            color = MAIN[i % len(MAIN)]
            axes.errorbar(xs, ys, reach, label=name, color=color, marker="o", markersize=4, elinewidth=0.8)
        _strip(axes)
        figure.legend(frameon=False, loc="outside right upper", fontsize=10)
        return _to_svg(figure, f"Share right over mean score in bins of spans: {', '.join(series)}.")


def draw_spans(text: str, spans: Iterable[Sequence[Any]]) -> Markup:
    """A passage with its entities underlined and named, by displaCy; spans may overlap.

    displaCy escapes the text but not the labels, sets labels over one another where they are longer than their words,
    and puts a space after every token: labels are escaped here, the templates are ours (their classes are in the page's
    style sheet), and the tokens are the segments between the spans' edges.

    text (str): the passage.
    spans (Iterable): (start, end, type), character offsets.
    RETURNS (Markup): HTML.
    """
    spans = sorted({(start, end, escape(label)) for start, end, label in spans})
    edges = cut_segments(text, [edge for start, end, _ in spans for edge in (start, end)])
    tokens = [
        text[a:b] if any(start <= a < end for start, end, _ in spans) and text[a:b].strip() else text[a:b] + JOIN
        for a, b in pairwise(edges)
    ]
    index = {edge: i for i, edge in enumerate(edges)}
    marks = [{"start_token": index[start], "end_token": index[end], "label": label} for start, end, label in spans]
    colors = {label: COLORS[zlib.crc32(label.encode("utf8")) % len(COLORS)] for _, _, label in spans}
    options = {"colors": colors, "template": SPAN_TEMPLATE, **SPAN_OFFSETS}
    doc = {"text": text, "spans": marks, "tokens": tokens}
    rendered = displacy.render(doc, style="span", manual=True, jupyter=False, options=options)
    return Markup(rendered.replace(f"{JOIN} ", "").replace(JOIN, ""))


def cut_segments(text: str, edges: Iterable[int], *, longest: int = 30) -> list[int]:
    """Where to cut a text so that every edge is a cut and lines may break where they should.

    text (str): the text.
    edges (Iterable): offsets that must be cuts; white space after one is a segment of its own.
    longest (int): a segment of more characters is cut after each white space.
    RETURNS (list): offsets, in order, from 0 to the end.
    """
    cuts = sorted({0, len(text), *edges})
    spaces = (
        match.end()
        for start, end in pairwise(cuts)
        for match in re.compile(r"\s+").finditer(text, start, end)
        if end - start > longest or match.start() == start
    )
    return sorted({*cuts, *spaces})


def _smooth(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """A moving mean over a twentieth of the points."""
    reach = len(points) // 40
    windows = (points[max(0, i - reach) : i + reach + 1] for i in range(len(points)))
    return [(step, sum(y for _, y in window) / len(window)) for (step, _), window in zip(points, windows, strict=True)]


def _to_svg(figure: Figure, label: str) -> Markup:
    """A figure as an SVG element, without the document around it and without metadata."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = buffer.getvalue()
    return Markup(svg[svg.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1))


def _style(salt: str) -> AbstractContextManager[None]:
    """Text stays text; the salt keeps the ids of two pictures in a page apart."""
    return matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt, "font.size": 11})


def _draw_curve(axes: Axes, points: Sequence[Sequence[float]], name: str, **line: Any) -> None:
    """A curve with a ring where F1 is best, the fourth number of a point."""
    _, precision, recall, f1 = zip(*points, strict=True)
    best = f1.index(max(f1))
    axes.plot(recall, precision, label=name, marker="o", markerfacecolor="none", markevery=[best], **line)


def _strip(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e5e5e5", linewidth=0.8)
