"""The one table of a comparison, and the lines around it, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

COLUMNS = ("fallback", "unguarded", "guarded")
LATENCY_ROWS = (("TTFT", "ttft_s"), ("TBT", "tbt_s"), ("E2E", "e2e_s"))
QUANTILE_ROWS = (("p50", "p50"), ("p95", "p95"), ("p99", "p99"), ("p99.9", "p999"))
MIN_FOR = {"p99": 5_000, "p999": 50_000}
"""Measured requests that a tail needs before it counts; with fewer its value is marked."""


def comparison_table(summary: Mapping[str, Any]) -> Group:
    """The table and its lines from a comparison's summary (the content of ``metrics.json``)."""
    entries = {name: summary[name] for name in COLUMNS}
    table = Table(title=None, pad_edge=False, box=None, header_style="bold")
    table.add_column("")
    names = {"fallback": summary["fallback_policy"], "unguarded": summary["policy"], "guarded": summary["policy"]}
    for name in COLUMNS:
        table.add_column(f"{name}\n{names[name]}", justify="right")
    for name in ("unguarded", "guarded"):
        table.add_column(f"{name}\n/ fallback", justify="right")
    if "placebo" in summary:
        table.add_column("placebo\n/ fallback", justify="right")
    for label, metric in LATENCY_ROWS:
        for quantile_label, key in QUANTILE_ROWS:
            _add_latency_row(table, summary, entries, f"{label} {quantile_label}, s", metric, key)
        table.add_section()
    _add_row(table, "lost (rejected + unfinished)", entries, _lost)
    _add_row(table, "SLO attainment", entries, lambda e: f"{e['slo_attainment']:.2%}")
    _add_row(table, "goodput, requests/s", entries, lambda e: _number(e["goodput_rps"]))
    _add_row(table, "output tokens/s", entries, lambda e: _number(e["output_tokens_per_s"]))
    _add_row(table, "decided by the policy", entries, lambda e: _share(e.get("availability")))
    _add_row(table, "differs from the fallback", entries, lambda e: _share(e.get("differs_from_fallback")))
    lines = [Text(line) for line in comparison_lines(summary)]
    return Group(table, *lines)


def comparison_lines(summary: Mapping[str, Any]) -> list[str]:
    """What stands under the table: gain kept, interventions, failures, notes."""
    gains = [
        f"{metric.replace('_s.', ' ').upper()} {'-' if kept is None else f'{kept:.0%}'}"
        for metric, kept in summary["gain_kept"].items()
    ]
    lines = [f"gain kept behind the guard: {', '.join(gains)} (- where the policy alone gains nothing)"]
    stopped = ", ".join(f"{reason} {count:,}" for reason, count in summary["guarded"]["interventions"].items())
    lines.append(f"interventions: {stopped or 'none'}")
    if "failed" in summary["unguarded"]:
        failed = summary["unguarded"]
        lines.append(f"the unguarded run ended at decision {failed['at_decision']}: {failed['failed']}")
    n = summary["fallback"]["measured_requests"]
    few = [label for label, key in QUANTILE_ROWS if n < MIN_FOR.get(key, 0)]
    if few:
        needed = " and ".join(f"{MIN_FOR[key]:,} for a {label}" for label, key in QUANTILE_ROWS if label in few)
        lines.append(f"* {n:,} measured requests are few: {needed} are needed for a firm value")
    return lines + [f"note: {note}" for note in summary["notes"]]


def _add_latency_row(
    table: Table, summary: Mapping[str, Any], entries: Mapping[str, Any], label: str, metric: str, key: str
) -> None:
    few = "*" if entries["fallback"]["measured_requests"] < MIN_FOR.get(key, 0) else ""
    cells = [label + few]
    cells += ["failed" if "failed" in entries[name] else _seconds(entries[name][metric][key]) for name in COLUMNS]
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


def _lost(entry: Mapping[str, Any]) -> str:
    return f"{entry['lost']['rejected']:,} + {entry['lost']['unfinished']:,}"


def _seconds(value: float | None) -> str:
    return "lost" if value is None else f"{value:.4f}" if value < 10 else f"{value:.2f}"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def replay_table(content: Mapping[str, Any]) -> Group:
    """One replay's metrics from its JSON content."""
    table = Table(pad_edge=False, box=None, header_style="bold")
    table.add_column("seconds")
    keys = ("mean", "p50", "p90", "p95", "p99", "p999", "max")
    for key in keys:
        table.add_column("p99.9" if key == "p999" else key, justify="right")
    for label, metric in (*LATENCY_ROWS, ("TPOT", "tpot_s"), ("queueing", "queueing_s")):
        table.add_row(label, *(_seconds(content[metric][key]) for key in keys))
    speed = content["requests"] / content["simulate_s"] if content["simulate_s"] > 0 else None
    goodput, tokens = _number(content["goodput_rps"]), _number(content["output_tokens_per_s"])
    simulated = f"{content['simulate_s']:.2f} s ({_number(speed)} requests/s)"
    lines = [
        f"lost (rejected + unfinished): {_lost(content)}; preemptions: {content['preemptions']:,}",
        f"SLO attainment {content['slo_attainment']:.2%}, goodput {goodput} requests/s, {tokens} output tokens/s",
        f"simulated in {simulated}, peak memory {content['peak_rss_mb']:.0f} MB",
    ]
    return Group(table, *(Text(line) for line in lines))
