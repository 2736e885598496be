"""The table of a training: the learned policy against every heuristic on the test part."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group
from rich.table import Table
from rich.text import Text

from ..domains import Domain
from ..training import TrainingReport


def training_table(report: TrainingReport, domain: Domain) -> Group:
    """One row a policy, one column a metric, each with its ratio to the fallback; then what to know of it."""
    spec = domain.report
    table = Table(title=None, pad_edge=False, box=None, header_style="bold")
    table.add_column("test part")
    for metric, key in spec.training:
        shown = spec.latency(metric)
        table.add_column(f"{key} {shown.label}{shown.comma_unit}", justify="right")
        table.add_column("/ fallback", justify="right")
    last_label, show_last = spec.training_row
    table.add_column(last_label, justify="right")
    fallback = report.test[report.fallback]
    for name, metrics in report.test.items():
        cells = [f"{name} (fallback)" if name == report.fallback else name]
        for metric, key in spec.training:
            value, base = metrics[metric][key], fallback[metric][key]
            cells.append("lost" if value is None else f"{value:.4g}")
            cells.append(f"{value / base:.3f}" if value is not None and base else "-")
        table.add_row(*cells, show_last(metrics), style="bold" if name.startswith("learned") else None)
    score = report.validation_scores[report.label]
    lines = [
        f"chosen on validation: {report.label}, score {score:+.4f} (0 is the fallback, lower is better)",
        f"decisions that differ from the fallback's: {report.differs_from_fallback:.1%}",
        *(f"note: {note}" for note in report.notes),
    ]
    if report.during is not None:
        lines[1:1] = during_lines(report.during, report.guarded)
    return Group(table, *(Text(line) for line in lines))


def during_lines(during: Mapping[str, int | float], guarded: bool) -> list[str]:
    """What a training did to the system while it explored, in words."""
    own = during.get("violations_per_1000_fallback")
    beside = "" if own is None else f"; the fallback alone {own:.4g}"
    where = "behind the guard" if guarded else "no guard"
    counts = f"{during['violations']:,.0f} of {during['outcomes']:,.0f} objectives"
    lines = [f"missed while training ({where}): {counts}, {during['violations_per_1000']:.4g} per 1,000{beside}"]
    if guarded:
        lines.append(
            f"of {during['decisions']:,.0f} decisions the guard weighed {during['asked']:,.0f} and replaced "
            f"{during['interventions']:,.0f} of these; at the other {during['fallback_ruled']:,.0f} the fallback ruled"
        )
    if "multiplier" in during:
        lines.append(
            f"multiplier at the end: {during['multiplier']:.4g}, for at most {during['violation_limit']:.2%} missed"
        )
    if "clone_agreement" in during:
        lines.append(f"the clone chose as the fallback in {during['clone_agreement']:.1%} of held-out decisions")
    return lines
