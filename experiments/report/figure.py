"""The figure of a comparison: CCDF of a headline metric, and its p99 over time with the guard's states behind it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.common.tails import quantiles
from .spec import FigureSpec

# Okabe and Ito's palette, distinguishable with any colour vision; line styles tell the curves apart in grey.
ARM_STYLES: dict[str, dict[str, Any]] = {
    "fallback": {"color": "#0072B2", "linestyle": "-"},
    "unguarded": {"color": "#D55E00", "linestyle": (0, (4, 1.5))},
    "guarded": {"color": "#009E73", "linestyle": (0, (1, 1))},
}
STATE_COLORS = {"open": "#999999", "half-open": "#E69F00"}
STATE_ALPHA = 0.25
OBJECTIVE_STYLE = {"color": "black", "linewidth": 0.8, "linestyle": ":"}
SIZE_INCHES, DPI = (10.0, 4.4), 150
MIN_POINTS, MAX_POINTS = 6, 60
CCDF_POINTS = 600
STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
}


@dataclass(frozen=True, slots=True)
class Curve:
    """One arm's measured items.

    Attributes:
        arrival_s: Arrival times in seconds, shape (n,).
        value: The headline metric of each, +inf where lost, shape (n,).
    """

    arrival_s: NDArray[np.float64]
    value: NDArray[np.float64]


def draw_comparison(
    curves: Mapping[str, Curve],
    guard_states: Sequence[tuple[float, float, str]],
    limit: float,
    title: str,
    spec: FigureSpec,
) -> bytes:
    """Draw the figure and return it as PNG, without dates or versions in it.

    Args:
        curves: Measured items by arm name (keys of ``ARM_STYLES``).
        guard_states: Spans (start_s, end_s, state) in which the guard was not closed.
        limit: Objective of the metric, drawn as a thin line.
        title: One line above the axes.
        spec: What the metric is called.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # A user's own matplotlibrc must not change a byte.
    style: Any = {k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith("backend")} | STYLE
    with matplotlib.rc_context(style):
        figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(title, fontsize=11, x=0.01, ha="left")
        tail, over_time = figure.subplots(1, 2, width_ratios=(1.0, 1.35))
        _draw_tail(tail, curves, limit, spec)
        _draw_over_time(over_time, curves, guard_states, limit, spec)
        _draw_legend(figure, curves, guard_states, limit, spec)
        png = io.BytesIO()
        figure.savefig(png, format="png", metadata={"Software": None})
    return png.getvalue()


def _draw_tail(axes: Any, curves: Mapping[str, Curve], limit: float, spec: FigureSpec) -> None:
    axes.set(xscale="log", yscale="log", xlabel=spec.axis, ylabel=f"share of {spec.items} above")
    for name, curve in curves.items():
        x, share = _ccdf(curve.value)
        if len(x):  # nothing to draw of an arm that lost every item
            axes.step(x, share, where="post", **ARM_STYLES[name])
    axes.axvline(limit, **OBJECTIVE_STYLE)
    axes.set_title(f"Tail of {spec.quantity}", loc="left")
    _plain_ticks(axes.xaxis, *axes.get_xlim(), room_decades=1.7)
    _plain_ticks(axes.yaxis, *axes.get_ylim(), room_decades=0.0)


def _draw_over_time(
    axes: Any,
    curves: Mapping[str, Curve],
    guard_states: Sequence[tuple[float, float, str]],
    limit: float,
    spec: FigureSpec,
) -> None:
    axes.set(yscale="log", xlabel=f"simulated time, {spec.time_unit}", ylabel=f"p99 {spec.axis}")
    for start_s, end_s, state in guard_states:
        axes.axvspan(
            start_s / spec.time_unit_s,
            end_s / spec.time_unit_s,
            color=STATE_COLORS[state],
            alpha=STATE_ALPHA,
            linewidth=0,
        )
    for name, curve in curves.items():
        at_s, p99 = _p99_over_time(curve, spec.per_point)
        axes.plot(at_s / spec.time_unit_s, p99, **ARM_STYLES[name])
    axes.axhline(limit, **OBJECTIVE_STYLE)
    axes.set_title(f"p99 of {spec.quantity} over time", loc="left")
    _plain_ticks(axes.yaxis, *axes.get_ylim(), room_decades=3.0)


def _draw_legend(
    figure: Any,
    curves: Mapping[str, Curve],
    guard_states: Sequence[tuple[float, float, str]],
    limit: float,
    spec: FigureSpec,
) -> None:
    """One legend of both panels, below them."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [Line2D([], [], label=name, **ARM_STYLES[name]) for name in curves]
    handles.append(Line2D([], [], label=f"objective, {limit:,.3g} {spec.unit}".rstrip(), **OBJECTIVE_STYLE))
    for state in sorted({state for _, _, state in guard_states}):
        handles.append(Patch(color=STATE_COLORS[state], alpha=STATE_ALPHA, label=f"guard {state}", linewidth=0))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))


def _plain_ticks(axis: Any, low: float, high: float, room_decades: float) -> None:
    """Ticks of a log axis from ``low`` to ``high`` with plain labels such as 0.2, 0.5, 1.

    Up to ``room_decades`` there is room for labels at 1, 2 and 5; within one decade those would be too few.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    decades = np.log10(high / low)
    labelled = [1.0]
    if decades <= room_decades:
        labelled = [1.0, 2.0, 5.0] if decades > 1.0 else [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0]
    axis.set_major_locator(LogLocator(subs=labelled))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())


def _ccdf(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points of the share of values above x, thinned evenly in log share; lost items stay above every x."""
    n = len(values)
    ordered = np.sort(values[np.isfinite(values)])
    if len(ordered) == 0:
        return ordered, ordered
    above = np.unique(np.geomspace(1, n, CCDF_POINTS).astype(np.int64))[::-1]
    rank = n - above
    rank = rank[rank < len(ordered)]
    return np.maximum(ordered[rank], 1e-6), (n - rank - 0.5) / n


def _p99_over_time(curve: Curve, per_point: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """p99 of the items that arrived in each of equally long spans; nan where it falls among the lost."""
    n = len(curve.arrival_s)
    if n == 0:
        return np.empty(0), np.empty(0)
    n_points = int(np.clip(n // per_point, MIN_POINTS, MAX_POINTS))
    edges = np.linspace(curve.arrival_s.min(), np.nextafter(curve.arrival_s.max(), np.inf), n_points + 1)
    place = np.clip(np.searchsorted(edges, curve.arrival_s, side="right") - 1, 0, n_points - 1)
    p99 = np.array([quantiles(curve.value[place == i], [0.99])[0] for i in range(n_points)])
    return (edges[:-1] + edges[1:]) / 2, np.where(np.isfinite(p99), np.maximum(p99, 1e-6), np.nan)
