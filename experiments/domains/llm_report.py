"""What the tables and the figure of LLM serving show."""

from __future__ import annotations

from ..report.spec import Entry, FigureSpec, Latency, ReportSpec, number

LATENCIES = (Latency("TTFT", "ttft_s"), Latency("TBT", "tbt_s"), Latency("E2E", "e2e_s"))


def lost(entry: Entry) -> str:
    """Requests lost, by reason."""
    return f"{entry['lost']['rejected']:,} + {entry['lost']['unfinished']:,}"


def attainment(entry: Entry) -> str:
    """Share of requests that attain the objective."""
    return f"{entry['slo_attainment']:.2%}"


def replay_lines(content: Entry) -> list[str]:
    """Lines under the table of one replay."""
    goodput, tokens = number(content["goodput_rps"]), number(content["output_tokens_per_s"])
    return [
        f"lost (rejected + unfinished): {lost(content)}; preemptions: {content['preemptions']:,}",
        f"SLO attainment {attainment(content)}, goodput {goodput} requests/s, {tokens} output tokens/s",
    ]


REPORT = ReportSpec(
    latencies=LATENCIES,
    replay_latencies=(*LATENCIES, Latency("TPOT", "tpot_s"), Latency("queueing", "queueing_s")),
    gain_of=(("ttft_s", "p99"), ("e2e_s", "p99")),
    training=(("ttft_s", "p50"), ("ttft_s", "p99"), ("e2e_s", "p50"), ("e2e_s", "p99")),
    rows=(
        ("lost (rejected + unfinished)", lost),
        ("SLO attainment", attainment),
        ("goodput, requests/s", lambda entry: number(entry["goodput_rps"])),
        ("output tokens/s", lambda entry: number(entry["output_tokens_per_s"])),
    ),
    training_row=("SLO attainment", attainment),
    replay_lines=replay_lines,
    figure=FigureSpec("TTFT", "s", "requests"),
)
