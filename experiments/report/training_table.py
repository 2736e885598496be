"""The table of a training: the learned policy against every heuristic on the test part."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table
from rich.text import Text

from ..training import TABLE_METRICS, TrainingReport


def training_table(report: TrainingReport) -> Group:
    """One row a policy, one column a metric, each with its ratio to the fallback; then what to know of it."""
    table = Table(title=None, pad_edge=False, box=None, header_style="bold")
    table.add_column("test part")
    for metric, key in TABLE_METRICS:
        table.add_column(f"{key} {metric.removesuffix('_s').upper()}, s", justify="right")
        table.add_column("/ fallback", justify="right")
    table.add_column("SLO attainment", justify="right")
    fallback = report.test[report.fallback]
    for name, metrics in report.test.items():
        cells = [f"{name} (fallback)" if name == report.fallback else name]
        for metric, key in TABLE_METRICS:
            value, base = metrics[metric][key], fallback[metric][key]
            cells.append("lost" if value is None else f"{value:.4g}")
            cells.append(f"{value / base:.3f}" if value is not None and base else "-")
        table.add_row(*cells, f"{metrics['slo_attainment']:.2%}", style="bold" if name == "learned" else None)
    score = report.validation_scores[report.label]
    lines = [
        f"chosen on validation: {report.label}, score {score:+.4f} (0 is the fallback, lower is better)",
        f"decisions that differ from the fallback's: {report.differs_from_fallback:.1%}",
        *(f"note: {note}" for note in report.notes),
    ]
    return Group(table, *(Text(line) for line in lines))
