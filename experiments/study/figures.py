"""Figures of a study: each cell's tail behind the guard, guarded against alone, and the sweep of margins."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from .arms import UNGUARDED
from .cells import Cell
from .measure import MEASURES

DOTS = 144
INK, GOOD, BAD, QUIET = "#333333", "#2a7f62", "#c0392b", "#bbbbbb"
LOST = 1e4
"""Where a lost tail is drawn."""


def cells_figure(found: Mapping[str, Any], domain: str) -> bytes:
    """p99 behind the guard over the fallback's, a cell a point in rising order, with simultaneous intervals.

    The band is the placebo's, from its least to its largest ratio.
    """
    tail = MEASURES[domain].headline
    entry = found["M1"][f"{tail}.p99"]
    figure, axes = _figure(7.0, 4.0)
    rows = sorted((r for r in entry.get("rows", []) if r["ratio"] is not None), key=lambda r: (r["ratio"], r["cell"]))
    placebo = entry.get("placebo") or {}
    if placebo.get("low") is not None:
        high = placebo["high"] or LOST
        axes.axhspan(placebo["low"], high, color=QUIET, alpha=0.4, lw=0, label="placebo, least to largest")
    axes.axhline(1.0, color=INK, lw=0.8)
    for place, row in enumerate(rows):
        interval = row["interval"]
        if interval["low"] is not None:
            axes.plot([place, place], [interval["low"], interval["high"]], color=QUIET, lw=1.2, zorder=1)
        above = (interval["low"] or 0.0) > 1.05
        axes.plot(place, row["ratio"], ".", color=BAD if above else GOOD, zorder=2)
    axes.set_yscale("log")
    axes.set_xlabel("loaded cells that count, in rising order")
    axes.set_ylabel(f"p99 {tail}, guarded / fallback")
    axes.set_title(f"{domain}: {len(rows)} cells")
    if placebo.get("low") is not None:
        axes.legend(frameon=False, loc="upper left")
    return _png(figure)


def scatter_figure(cells: Sequence[Cell], domain: str) -> bytes:
    """The headline tail behind the guard against that of the policy alone, both over the fallback's."""
    tail = MEASURES[domain].headline
    figure, axes = _figure(5.0, 4.6)
    colours = {"light": QUIET, "loaded": GOOD, "saturated": BAD}
    least = 0.5
    for load, colour in colours.items():
        points = [
            (cell.ratio(UNGUARDED, tail, "p99") or LOST, cell.ratio("guarded", tail, "p99") or LOST)
            for cell in cells
            if cell.data.load == load and tail in cell.data.scales
        ]
        if points:
            least = min(least, *map(min, points))
            axes.plot(*zip(*points, strict=True), "o", ms=4, color=colour, alpha=0.8, label=f"{load} ({len(points)})")
    axes.axhline(1.0, color=INK, lw=0.8)
    axes.axvline(1.0, color=INK, lw=0.8)
    low, high = 0.8 * least, LOST * 2
    axes.plot([low, high], [low, high], color=QUIET, lw=0.8, ls="--")
    axes.set(xscale="log", yscale="log", xlim=(low, high))
    axes.set_xlabel(f"p99 {tail}, policy alone / fallback\n(lost or failed: {LOST:g})")
    axes.set_ylabel("guarded / fallback")
    axes.set_title(domain)
    axes.legend(frameon=False)
    return _png(figure)


def frontier_figure(points: Sequence[Mapping[str, Any]], domain: str) -> bytes:
    """Gain kept against the largest tail, one point a factor on the margins, on validation."""
    figure, axes = _figure(5.0, 4.0)
    known = [p for p in points if p["gain"] is not None and p["largest"] is not None]
    if known:
        axes.plot([p["largest"] for p in known], [p["gain"] for p in known], "o-", color=GOOD)
        for point in known:
            axes.annotate(
                f"x {point['factor']:g}", (point["largest"], point["gain"]), textcoords="offset points", xytext=(5, 5)
            )
    axes.set_xlabel("largest p99 over the fallback's")
    axes.set_ylabel("gain kept")
    axes.set_title(f"{domain}: margins swept on validation")
    return _png(figure)


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _png(figure: Any) -> bytes:
    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=DOTS, metadata={"Software": None})
    return sink.getvalue()
