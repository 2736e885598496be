"""The table of sequences: each one's means, then the mean over them and the pooled tails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from .spec import latency

if TYPE_CHECKING:
    from ..domains import Domain

TAILS = ("p50", "p95", "p99", "p999", "max")


def sequences_table(content: Mapping[str, Any], domain: Domain) -> Group:
    """From the JSON content of a replay of sequences."""
    table = Table(pad_edge=False, box=None, header_style="bold")
    table.add_column("first row")
    shown = domain.report.replay_latencies
    for metric in shown:
        table.add_column(f"mean {metric.label}{metric.comma_unit}", justify="right")
    sequences = content["sequences"]
    for k, start in enumerate(sequences["starts"]):
        table.add_row(f"{start:,}", *(latency(sequences["means"][metric.metric][k]) for metric in shown))
    table.add_section()
    table.add_row("mean of means", *(latency(content[metric.metric]["mean"]) for metric in shown))
    for key in TAILS:
        label = "p99.9" if key == "p999" else key
        table.add_row(f"{label}, all jobs", *(latency(content[metric.metric][key]) for metric in shown))
    lost = ", ".join(f"{reason} {count:,}" for reason, count in content["lost"].items())
    return Group(table, Text(f"lost: {lost}; simulated in {content['simulate_s']:.2f} s"))
