"""The tables of an audit, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from ..report.spec import ReportSpec


def audit_table(summary: Mapping[str, Any], frontier: Sequence[Mapping[str, Any]], spec: ReportSpec) -> Group:
    """What an audit found, as tables and lines."""
    table = _table("reason", "decisions", "audited", "worse", "same", "better", "precision", "judged by")
    for row in summary["by_reason"]:
        counts = [f"{row[key]:,}" for key in ("decisions", "audited", "harmful", "neutral", "better")]
        precision = share(row["precision"]) if row["precision"] is not None else ""
        table.add_row(row["reason"], *counts, precision, row["basis"])
    lines = [
        (
            f"precision of interventions {share(summary['precision'])}, recall {share(summary['recall'])}; "
            f"a difference is {summary['margin']:.1%} of the fallback's cost over "
            f"{summary['horizon_s']:.4g} s after a choice, {summary['rule_horizon_s']:.4g} s of rule"
        ),
        (
            f"{summary['agreeing']:,} of {summary['decisions']:,} proposals were the fallback's own action; "
            f"faults contained: {_counts(summary['contained_faults'])}"
        ),
        f"harm let through, of what was audited: {len(summary['missed'])} decisions",
    ]
    missed = _table("at, s", "decision", "executed", "fallback", "cost, s", "fallback's cost, s")
    for row in summary["missed"]:
        cost = "failed" if row["cost_s"] is None else f"{row['cost_s']:.3f}"
        choice = (str(row["executed"]), str(row["fallback"]))
        missed.add_row(f"{row['now_s']:.3f}", str(row["decision"]), *choice, cost, f"{row['fallback_cost_s']:.3f}")
    parts: list[Any] = [table, *(Text(line) for line in lines)]
    if summary["missed"]:
        parts.append(missed)
    if frontier:
        parts.append(_frontier_table(frontier, spec))
    return Group(*parts)


def share(estimate: Mapping[str, float | None]) -> str:
    """An estimated share with its interval; ``-`` where nothing counts."""
    if estimate["value"] is None:
        return "-"
    return f"{estimate['value']:.0%} [{estimate['low']:.0%}, {estimate['high']:.0%}]"


def _frontier_table(frontier: Sequence[Mapping[str, Any]], spec: ReportSpec) -> Table:
    names = [f"{shown.label} p99 / fallback" for shown in spec.latencies]
    table = _table("margins x", "decided by the policy", "gain kept", *names)
    for point in frontier:
        kept = "-" if point["gain_kept"] is None else f"{point['gain_kept']:.0%}"
        ratios = [point["ratios"][shown.metric]["p99"] for shown in spec.latencies]
        cells = ["lost" if ratio is None else f"{ratio:.3f}" for ratio in ratios]
        table.add_row(f"{point['factor']:g}", f"{point['availability']:.1%}", kept, *cells)
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(pad_edge=False, box=None, header_style="bold")
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in counts.items()) or "none"
