"""Pictures that stand in a page: curves and histograms as SVG, passages with their entities by displaCy."""

import io
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from html import escape
from itertools import pairwise
from math import exp, floor, log, log10
from statistics import fmean
from typing import Any, Literal

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
PAPER = ("#a6a6a6", "#6e6e6e")
"""The bars of numbers that are not ours."""
KINDS = ("#1f5f99", "#b3470b", "#e3a857", "#8f6fc0", "#7a7a7a")
INK = ("#fdfdfd", "#101010")
"""What is written on a dark ground, and on a light one."""
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
        return _to_svg(figure, f"{ylabel}. {_say(groups)}.")


def draw_groups(
    groups: Mapping[str, Mapping[str, float]], *, xlabel: str, paper: Sequence[str] = (), notes: Mapping[Any, str]
) -> Markup:
    """Numbers as bars under one another, where there are many groups or long names.

    groups (Mapping): numbers by their names, by the name of a group.
    xlabel (str): what the numbers are.
    paper (Sequence): the names that are not ours, drawn in grey.
    notes (Mapping): what to write behind a number, by (group, name).
    RETURNS (Markup): inline SVG, empty without a number.
    """
    groups = {group: row for group, row in groups.items() if row}
    if not groups:
        return Markup()
    colors = _pick_colors(list(dict.fromkeys(name for row in groups.values() for name in row)), paper)
    height, gap, place, ticks = 0.17, 0.8, 0.0, []
    with _style(f"groups of {xlabel}"):
        lines = sum(len(row) + gap for row in groups.values())
        figure = Figure(figsize=(7.2, 0.9 + height * (lines + len(colors) / 3)), layout="constrained")
        axes = figure.add_subplot(xlabel=xlabel, xlim=(0, 108), ylim=(lines, -gap))
        axes.set_axisbelow(True)
        for group, row in groups.items():
            ticks.append(place + (len(row) - 1) / 2)
            for name, value in row.items():
                axes.barh(place, value, 0.86, color=colors[name], label=name)
                said = f"{value:.1f}{notes.get((group, name), '')}"
                axes.annotate(said, (value, place), (3, 0), textcoords="offset points", va="center", fontsize=9)
                place += 1
            place += gap
        axes.set_yticks(ticks, list(groups))
        _strip(axes, grid="x")
        _add_legend(figure, axes)
        said = "; ".join(
            f"{group}: {', '.join(f'{n} {v:.1f}' for n, v in row.items())}" for group, row in groups.items()
        )
        return _to_svg(figure, f"{xlabel}. {said}.")


def draw_shares(counts: Mapping[str, Mapping[str, int]], *, of: str) -> Markup:
    """What each whole consists of, one bar to a hundred a line.

    counts (Mapping): counts by their names, by the name of the whole.
    of (str): what is counted, in the plural.
    RETURNS (Markup): inline SVG, empty without a count.
    """
    counts = {name: row for name, row in counts.items() if sum(row.values())}
    if not counts:
        return Markup()
    kinds = list(dict.fromkeys(kind for row in counts.values() for kind in row))
    with _style(f"shares of {of}"):
        figure = Figure(figsize=(7.2, 1.3 + 0.32 * len(counts)), layout="constrained")
        axes = figure.add_subplot(xlabel=f"% of the {of}", xlim=(0, 100), ylim=(len(counts) - 0.4, -0.6))
        axes.set_axisbelow(True)
        for line, row in enumerate(counts.values()):
            left, total = 0.0, sum(row.values())
            for i, kind in enumerate(kinds):
                share = 100 * row.get(kind, 0) / total
                axes.barh(line, share, 0.7, left, color=KINDS[i % len(KINDS)], label=kind)
                if share >= 6:
                    ink = _ink(KINDS[i % len(KINDS)])
                    axes.text(left + share / 2, line, f"{share:.0f}", ha="center", va="center", fontsize=9, color=ink)
                left += share
        axes.set_yticks(range(len(counts)), [f"{name} ({sum(row.values()):,})" for name, row in counts.items()])
        _strip(axes, grid="x")
        _add_legend(figure, axes)
        said = "; ".join(f"{name}: {', '.join(f'{k} {v}' for k, v in row.items())}" for name, row in counts.items())
        return _to_svg(figure, f"Shares of {of}. {said}.")


def draw_heat(rows: Mapping[str, Mapping[str, float]], columns: Sequence[str], *, of: str) -> Markup:
    """Numbers from 0 to 100 as a map, the darker the higher.

    rows (Mapping): numbers by their columns, by the row's name; a number that is not there is left open.
    columns (Sequence): the columns, in order.
    of (str): what the numbers are.
    RETURNS (Markup): inline SVG, empty without a row.
    """
    if not rows or not columns:
        return Markup()
    shades = matplotlib.colormaps["Blues"]
    with _style(f"heat of {of}"):
        figure = Figure(figsize=(7.2, 1.6 + 0.25 * len(rows)), layout="constrained")
        axes = figure.add_subplot(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
        for y, row in enumerate(rows.values()):
            for x, column in enumerate(columns):
                if (value := row.get(column)) is not None:
                    color = matplotlib.colors.to_hex(shades(0.08 + 0.92 * value / 100))
                    axes.barh(y, 0.96, 0.92, x - 0.48, color=color)
                    said = f"{value:.1f}"
                    axes.text(x, y, said, ha="center", va="center", fontsize=9, color=_ink(color))
        axes.set_yticks(range(len(rows)), list(rows), fontsize=10)
        axes.set_xticks(range(len(columns)), columns, fontsize=10, rotation=35, ha="left")
        axes.tick_params(length=0, labeltop=True, labelbottom=False)
        axes.spines[:].set_visible(False)
        return _to_svg(
            figure, f"{of}: {len(rows)} lines by {', '.join(columns)}. The numbers are in the table of scores."
        )


def draw_points(groups: Mapping[str, Sequence[tuple[float, float]]], *, xlabel: str, ylabel: str) -> Markup:
    """Points over sizes on a logarithmic axis, and a line through their means: the sizes of each third of a decade.

    groups (Mapping): (size, number from 0 to 100) of each point, by the group's name.
    xlabel, ylabel (str): what the sizes are, and the numbers.
    RETURNS (Markup): inline SVG, empty without a point.
    """
    groups = {name: [(x, y) for x, y in points if x > 0] for name, points in groups.items()}
    groups = {name: points for name, points in groups.items() if points}
    if not groups:
        return Markup()
    colors = _pick_colors(list(groups))
    with _style(f"{ylabel} by {xlabel}"):
        figure = Figure(figsize=(7.2, 4.4), layout="constrained")
        axes = figure.add_subplot(xlabel=xlabel, ylabel=ylabel, ylim=(-3, 103))
        axes.set_xscale("log")
        for name, points in groups.items():
            axes.plot(*zip(*points, strict=True), "o", color=colors[name], markersize=3, alpha=0.5, markeredgewidth=0)
            axes.plot(*zip(*_average(points), strict=True), color=colors[name], linewidth=1.8, label=name)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        _strip(axes)
        _add_legend(figure, axes)
        said = "; ".join(f"{name}: {len(points)} points" for name, points in groups.items())
        return _to_svg(figure, f"{ylabel} over {xlabel}. {said}.")


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


def _say(groups: Mapping[str, Mapping[str, float]]) -> str:
    """The numbers of groups, for those who don't see them."""
    return "; ".join(f"{group}: {', '.join(f'{n} {v:.1f}' for n, v in row.items())}" for group, row in groups.items())


def _average(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The mean points of those that are in the same third of a decade."""
    parts: dict[int, list[tuple[float, float]]] = {}
    for x, y in points:
        parts.setdefault(floor(3 * log10(x)), []).append((x, y))
    return [(exp(fmean(log(x) for x, _ in part)), fmean(y for _, y in part)) for _, part in sorted(parts.items())]


def _pick_colors(names: Sequence[str], paper: Sequence[str] = ()) -> dict[str, str]:
    """A colour for each name, greys for those of the paper."""
    ours, palette = [name for name in names if name not in paper], (*MAIN, *THIN)
    colors = {name: palette[i % len(palette)] for i, name in enumerate(ours)}
    return colors | {name: PAPER[i % len(PAPER)] for i, name in enumerate(paper)}


def _ink(ground: str) -> str:
    """What can be read on a colour."""
    red, green, blue = matplotlib.colors.to_rgb(ground)
    return INK[0.299 * red + 0.587 * green + 0.114 * blue > 0.55]


def _add_legend(figure: Figure, axes: Axes) -> None:
    """A legend above the axes, each name once."""
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), frameon=False, loc="outside upper left", ncols=3, fontsize=10)


def _strip(axes: Axes, *, grid: Literal["x", "y"] = "y") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="#e5e5e5", linewidth=0.8)
