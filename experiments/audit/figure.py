"""The figure of an audit: what interventions were worth, by reason, and the frontier of the margins."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from ..report.figure import DPI, STYLE
from ..report.spec import ReportSpec

HARMFUL, NEUTRAL, BETTER = "#009E73", "#BBBBBB", "#D55E00"
SIZE_INCHES = (11.0, 4.6)
TAIL_STYLES = (("#0072B2", "-", "o"), ("#CC79A7", "--", "s"), ("#E69F00", ":", "^"), ("#56B4E9", "-.", "v"))


def draw_audit(
    summary: Mapping[str, Any], frontier: Sequence[Mapping[str, Any]], title: str, spec: ReportSpec
) -> bytes:
    """Draw the figure and return it as PNG, without dates or versions in it.

    Args:
        summary: What ``audit_run`` says.
        frontier: Points of the sweep in JSON's types, by ascending factor; empty for none.
        title: One line above the axes.
        spec: What the domain's metrics are called.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: Any = {k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith("backend")} | STYLE
    with matplotlib.rc_context(style):
        figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(title, fontsize=11, x=0.01, ha="left")
        if frontier:
            reasons, trade = figure.subplots(1, 2, width_ratios=(1.25, 1.0))
            _draw_frontier(trade, frontier, spec)
        else:
            reasons = figure.subplots()
        _draw_reasons(reasons, summary["by_reason"])
        sink = io.BytesIO()
        figure.savefig(sink, format="png", metadata={"Software": None})
    return sink.getvalue()


def _draw_reasons(axes: Any, by_reason: Sequence[Mapping[str, Any]]) -> None:
    """Stacked shares of what the audited decisions of each reason were worth."""
    rows = [row for row in by_reason if row["audited"]]
    names = [f"{row['reason']} ({row['audited']:,} of {row['decisions']:,})" for row in rows]
    left = [0.0] * len(rows)
    for key, label, color in (
        ("harmful", "proposal was worse", HARMFUL),
        ("neutral", "no difference", NEUTRAL),
        ("better", "proposal was better", BETTER),
    ):
        shares = [row[key] / row["audited"] for row in rows]
        axes.barh(names, shares, left=left, color=color, label=label, height=0.7)
        left = [a + b for a, b in zip(left, shares, strict=True)]
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of the audited decisions")
    axes.set_title("what the proposals would have done, by what became of them", fontsize=10, loc="left")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3, fontsize=9)
    axes.grid(axis="y", visible=False)


def _draw_frontier(axes: Any, frontier: Sequence[Mapping[str, Any]], spec: ReportSpec) -> None:
    """Tail ratio against the share of decisions left to the policy, one line a latency."""
    across = [point["availability"] for point in frontier]
    for shown, (color, line, marker) in zip(spec.latencies, TAIL_STYLES, strict=False):
        ratios = [point["ratios"][shown.metric]["p99"] for point in frontier]
        known = [(x, y) for x, y in zip(across, ratios, strict=True) if y is not None]
        if known:
            xs, ys = zip(*known, strict=True)
            axes.plot(xs, ys, color=color, linestyle=line, marker=marker, label=f"{shown.label} p99")
    for point, x in zip(frontier, across, strict=True):
        axes.annotate(f"x{point['factor']:g}", (x, 0.0), xycoords=("data", "axes fraction"), fontsize=8, ha="center")
    axes.axhline(1.0, color="black", linewidth=0.8, linestyle=":")
    axes.set_xlabel("share of decisions left to the policy")
    axes.set_ylabel("behind the guard / fallback")
    axes.set_title("margins multiplied by a factor", fontsize=10, loc="left")
    axes.legend(loc="best", fontsize=9)
