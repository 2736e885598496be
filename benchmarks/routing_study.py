"""A learned router against every heuristic on the test parts of dense traces, and how much there is to be had at all.

    python benchmarks/routing_study.py --data ../shared/traces/llm [--policy DIR] [--windows 6] [--out FILE.json]

For each trace the test part (the last 30 % of its time) is brought to 0.8 of the capacity of h100:2,a100:2. A window is
one realisation of it, with its own random shifts (or thinning); all policies are replayed on the same windows. Printed
are p99 of TTFT and E2E (geometric means over windows) and the learned policy's ratio to each heuristic with the paired
95 % t interval of the log ratios over windows. The headroom is what the same kind of scorer reaches when the
cross-entropy method tunes it on the very windows that it is judged on: a ceiling, not a policy that could be deployed.

A policy that was trained on one of the traces has seen that trace's first half, never its test part.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from handrail.envs.common import Layout
from handrail.envs.llm_serving import layout_for
from handrail.envs.llm_serving.metrics import compute_metrics
from handrail.experiments.domains.llm import DEFAULT_FALLBACK, DEFAULT_LOAD, LLMScenario
from handrail.experiments.replay import replay
from handrail.experiments.scenario import Prepared, prepare
from handrail.experiments.statistics import Interval, geometric_mean_ratio
from handrail.experiments.tail_search import ScorerScore, TrafficWindow, replay_network, traffic_windows
from handrail.policies import HEURISTICS, make_heuristic
from handrail.policies.learning.cem import cem_search
from handrail.policies.learning.features import ObservationSample, scorer_search
from handrail.policies.network import ReplicaScorer
from handrail.policies.parallel import run_jobs
from handrail.traces import RequestTrace, load_trace

TRACES = (
    "azure_2023_conv_first35min.csv",
    "azure_2023_code_first35min.csv",
    "mooncake_conversation_first35min.jsonl",
)
TAILS = ("ttft_s", "e2e_s")
SAMPLED_DECISIONS = 4000
LEARNED, TUNED = "learned", "tuned on the test windows"


@dataclass(frozen=True, slots=True)
class Job:
    """One policy on one window."""

    window: TrafficWindow
    policy: str | ReplicaScorer


def run_job(job: Job) -> dict[str, Any]:
    """p99 of each tail in seconds, measured requests and lost ones."""
    window = job.window
    if isinstance(job.policy, str):
        run = replay(
            window.system, window.trace, job.policy, window.objective, measured=window.measured, seed=window.seed
        )
    else:
        run = replay_network(window, job.policy)
    metrics = compute_metrics(run.results, window.objective)
    return {
        **{tail: metrics[tail]["p99"] for tail in TAILS},
        "measured_requests": metrics["measured_requests"],
        "lost": sum(metrics["lost"].values()),
    }


def tune(windows: Sequence[TrafficWindow], options: argparse.Namespace) -> ReplicaScorer:
    """The scorer that the cross-entropy method finds on the windows themselves."""
    first = windows[0]
    layout = layout_for(len(first.system.replicas))
    sampled: list[ObservationSample] = []

    def sampler(layout: Layout) -> ObservationSample:
        stride = max(len(first.trace) // SAMPLED_DECISIONS, 1)
        sampled.append(ObservationSample(make_heuristic(DEFAULT_FALLBACK, layout), stride))
        return sampled[0]

    replay(first.system, first.trace, sampler, first.objective, measured=first.measured, seed=first.seed)
    search = scorer_search(layout, sampled[0].observations)
    score = ScorerScore(search, layout, tuple(windows))
    result = cem_search(
        score,
        search.start,
        search.first_std,
        population=options.population,
        elites=max(2, options.population // 4),
        iterations=options.iterations,
        seed=options.seed,
        workers=options.workers,
    )
    finalists = [score.network(vector) for vector in result.finalists()]
    values = run_jobs(partial(_score, score), result.finalists(), options.workers)
    return finalists[int(np.argmin(values))]


def _score(score: ScorerScore, vector: np.ndarray) -> float:
    return score((vector, 0))


def study(trace: RequestTrace, options: argparse.Namespace) -> dict[str, Any]:
    """All policies on all windows of one trace's test part."""
    scenario = LLMScenario(split="test", load=options.load, seed=options.seed)
    prepared = prepare(trace, scenario)
    windows = traffic_windows(
        trace, prepared, DEFAULT_FALLBACK, n=options.windows, seed=options.seed, max_items=options.window_requests
    )
    policies: dict[str, str | ReplicaScorer] = {name: name for name in HEURISTICS}
    policies[LEARNED] = options.policy
    if options.iterations:
        policies[TUNED] = tune(windows, options)
    jobs = [Job(window, policy) for policy in policies.values() for window in windows]
    rows = run_jobs(run_job, jobs, options.workers)
    found = {name: rows[i * len(windows) : (i + 1) * len(windows)] for i, name in enumerate(policies)}
    return _summary(prepared, windows, found)


def _summary(
    prepared: Prepared, windows: Sequence[TrafficWindow], found: dict[str, list[dict[str, Any]]]
) -> dict[str, Any]:
    tails = {name: {tail: [row[tail] for row in rows] for tail in TAILS} for name, rows in found.items()}
    means = {name: {tail: _geometric_mean(values[tail]) for tail in TAILS} for name, values in tails.items()}
    best = {tail: min(HEURISTICS, key=lambda name: means[name][tail] or math.inf) for tail in TAILS}
    learned_over = {
        name: {tail: _ratio(tails[LEARNED][tail], tails[name][tail]) for tail in TAILS} for name in HEURISTICS
    }
    summary: dict[str, Any] = {
        "trace": prepared.trace.name,
        "load": prepared.change.sentence(),
        "windows": len(windows),
        "measured_requests_a_window": [row["measured_requests"] for row in found[LEARNED]],
        "lost": {name: sum(row["lost"] for row in rows) for name, rows in found.items()},
        "p99": means,
        "p99_by_window": tails,
        "best_heuristic": best,
        "learned_over": {
            name: {tail: None if r is None else r.to_json() for tail, r in by_tail.items()}
            for name, by_tail in learned_over.items()
        },
    }
    if TUNED in found:
        tuned_over_best = {tail: _ratio(tails[TUNED][tail], tails[best[tail]][tail]) for tail in TAILS}
        summary["tuned_over_best"] = {t: None if r is None else r.to_json() for t, r in tuned_over_best.items()}
        summary["share_of_headroom"] = {
            tail: _share(learned_over[best[tail]][tail], tuned_over_best[tail]) for tail in TAILS
        }
    return summary


def _geometric_mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.exp(np.mean(np.log(known)))) if len(known) == len(values) else None


def _ratio(ours: Sequence[float | None], theirs: Sequence[float | None]) -> Interval | None:
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]
    if len(pairs) < len(ours):
        return None  # a tail among lost requests has no ratio
    return geometric_mean_ratio([a for a, _ in pairs], [b for _, b in pairs])


def _share(learned: Interval | None, tuned: Interval | None) -> float | None:
    """Which part of the tuned scorer's gain over the best heuristic the learned one has; None without a firm gain."""
    if learned is None or tuned is None or tuned.estimate >= 1.0 or not tuned.excludes(1.0):
        return None
    return math.log(learned.estimate) / math.log(tuned.estimate)


def show(console: Console, summary: dict[str, Any]) -> None:
    """Print one trace's table."""
    n = summary["measured_requests_a_window"]
    console.print(f"\n{summary['trace']}: {summary['windows']} windows of {min(n):,}-{max(n):,} measured requests")
    console.print(summary["load"], soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "p99 TTFT, s", "p99 E2E, s", "learned / this, TTFT", "learned / this, E2E", "lost"):
        table.add_column(column, justify="left" if not column else "right")
    for name, means in summary["p99"].items():
        cells = ["-" if means[tail] is None else f"{means[tail]:.3f}" for tail in TAILS]
        ratios = summary["learned_over"].get(name, dict.fromkeys(TAILS))
        cells += ["" if ratios[tail] is None else str(Interval(**ratios[tail])) for tail in TAILS]
        table.add_row(name, *cells, f"{summary['lost'][name]:,}")
    console.print(table)
    for tail in TAILS if "share_of_headroom" in summary else ():
        ceiling, share = summary["tuned_over_best"][tail], summary["share_of_headroom"][tail]
        text = "lost" if ceiling is None else str(Interval(**ceiling))
        part = "no firm headroom" if share is None else f"the learned policy has {share:.0%} of it (in logs)"
        console.print(f"headroom, p99 {tail}: tuned / {summary['best_heuristic'][tail]} = {text}; {part}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the traces")
    parser.add_argument("--traces", nargs="+", default=list(TRACES), help="file names in that folder")
    parser.add_argument("--policy", default="bundled", help="policy folder, or bundled")
    parser.add_argument("--load", type=float, default=DEFAULT_LOAD)
    parser.add_argument("--windows", type=int, default=6)
    parser.add_argument("--window-requests", type=int, default=12_000, help="longest window")
    parser.add_argument("--iterations", type=int, default=8, help="of the search for the headroom; 0 leaves it out")
    parser.add_argument("--population", type=int, default=24)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="also write everything as JSON")
    options = parser.parse_args()
    console = Console(width=130, highlight=False)
    summaries = []
    for name in options.traces:
        began = time.perf_counter()
        summaries.append(study(load_trace(options.data / name), options))
        show(console, summaries[-1])
        console.print(f"took {time.perf_counter() - began:.0f} s")
        if options.out is not None:
            options.out.write_text(json.dumps(summaries, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
