"""The one table of a comparison, and the lines around it, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from .spec import Latency, latency, number, share

if TYPE_CHECKING:
    from ..domains import Domain

COLUMNS = ("fallback", "unguarded", "guarded")


def comparison_table(summary: Mapping[str, Any], domain: Domain) -> Group:
    """The table and its lines from a comparison's summary (the content of ``metrics.json``)."""
    spec = domain.report
    entries = {name: summary[name] for name in COLUMNS}
    table = Table(title=None, pad_edge=False, box=None, header_style="bold")
    table.add_column("")
    names = {"fallback": summary["fallback_policy"], "unguarded": summary["policy"], "guarded": summary["policy"]}
    oracle = " (oracle)" if summary.get("oracle") else ""
    for name in COLUMNS:
        table.add_column(f"{name}\n{names[name]}{oracle}", justify="right")
    for name in ("unguarded", "guarded"):
        table.add_column(f"{name}\n/ fallback", justify="right")
    if "placebo" in summary:
        table.add_column("placebo\n/ fallback", justify="right")
    n_measured = entries["fallback"][f"measured_{domain.items}"]
    for shown in spec.latencies:
        for quantile_label, key in spec.quantiles:
            few = "*" if n_measured < spec.min_for.get(key, 0) else ""
            label = f"{shown.label} {quantile_label}{shown.comma_unit}{few}"
            _add_latency_row(table, summary, entries, label, shown, key)
        table.add_section()
    for label, show in spec.rows:
        _add_row(table, label, entries, show)
    _add_row(table, "decided by the policy", entries, lambda e: share(e.get("availability")))
    _add_row(table, "differs from the fallback", entries, lambda e: share(e.get("differs_from_fallback")))
    lines = [Text(line) for line in comparison_lines(summary, domain)]
    more = [_plain_table(*content) for content in spec.more(entries)]
    return Group(table, *more, *lines)


def comparison_lines(summary: Mapping[str, Any], domain: Domain) -> list[str]:
    """What stands under the table: gain kept, interventions, failures, notes."""
    spec = domain.report
    gains = []
    for metric, key in spec.gain_of:
        kept = summary["gain_kept"][f"{metric}.{key}"]
        shown = key if key == "mean" else key.upper()
        gains.append(f"{spec.latency(metric).label} {shown} {'-' if kept is None else f'{kept:.0%}'}")
    lines = [f"gain kept behind the guard: {', '.join(gains)} (- where the policy alone gains nothing)"]
    stopped = ", ".join(f"{reason} {count:,}" for reason, count in summary["guarded"]["interventions"].items())
    lines.append(f"interventions: {stopped or 'none'}")
    if "failed" in summary["unguarded"]:
        failed = summary["unguarded"]
        lines.append(f"the unguarded run ended at decision {failed['at_decision']}: {failed['failed']}")
    n = summary["fallback"][f"measured_{domain.items}"]
    few = [label for label, key in spec.quantiles if n < spec.min_for.get(key, 0)]
    if few:
        needed = " and ".join(f"{spec.min_for[key]:,} for a {label}" for label, key in spec.quantiles if label in few)
        lines.append(f"* {n:,} measured {domain.items} are few: {needed} are needed for a firm value")
    return lines + [f"note: {note}" for note in summary["notes"]]


def _add_latency_row(
    table: Table, summary: Mapping[str, Any], entries: Mapping[str, Any], label: str, shown: Latency, key: str
) -> None:
    cells, metric = [label], shown.metric
    cells += ["failed" if "failed" in entries[name] else latency(entries[name][metric][key]) for name in COLUMNS]
    for name in ("unguarded", "guarded"):
        ratio = summary["ratio"][name]
        cells.append("-" if ratio is None else _ratio(ratio[metric][key]))
    if "placebo" in summary:
        spread = summary["placebo"]["ratio"][metric][key]
        cells.append(f"{_ratio(spread['low'])} - {_ratio(spread['high'])}")
    table.add_row(*cells)


def _add_row(table: Table, label: str, entries: Mapping[str, Any], show: Any) -> None:
    cells = ["-" if "failed" in entries[name] else show(entries[name]) for name in COLUMNS]
    table.add_row(label, *cells)


def _plain_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left", title_style="", pad_edge=False, box=None, header_style="bold")
    for k, name in enumerate(header):
        table.add_column(name, justify="right" if k else "left")
    for row in rows:
        table.add_row(*row)
    return table


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def replay_table(content: Mapping[str, Any], domain: Domain) -> Group:
    """One replay's metrics from its JSON content."""
    spec = domain.report
    table = Table(pad_edge=False, box=None, header_style="bold")
    in_seconds = all(shown.unit == "s" for shown in spec.replay_latencies)
    table.add_column("seconds" if in_seconds else "")
    keys = ("mean", "p50", "p90", "p95", "p99", "p999", "max")
    for key in keys:
        table.add_column("p99.9" if key == "p999" else key, justify="right")
    for shown in spec.replay_latencies:
        label = shown.label if in_seconds else shown.label + shown.comma_unit
        table.add_row(label, *(latency(content[shown.metric][key]) for key in keys))
    speed = content[domain.items] / content["simulate_s"] if content["simulate_s"] > 0 else None
    simulated = f"{content['simulate_s']:.2f} s ({number(speed)} {domain.items}/s)"
    lines = [
        *spec.replay_lines(content),
        f"simulated in {simulated}, peak memory {content['peak_rss_mb']:.0f} MB",
    ]
    return Group(table, *(Text(line) for line in lines))
