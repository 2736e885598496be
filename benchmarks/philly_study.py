"""Every discipline and the bundled policy on Philly's test part, as ``compare --domain cluster`` replays it.

    python benchmarks/philly_study.py --data ../shared [--out docs/results/philly.md]

Servers of 8 GPUs at an offered load of 0.8 of the whole shared part, quotas by tenant, run times predicted from
completed jobs (``none`` for LAS and Gittins, which need none; the oracle knows them). Disciplines run inside the
simulator, with the whole queue before them. Intervals are 95 % bootstrap intervals over 12 equally long stretches of
arrivals, paired: whole stretches are drawn.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from handrail.envs.cluster import ClusterResults
from handrail.envs.cluster.metrics import bounded_slowdown, compute_metrics, wait_s
from handrail.experiments.cluster_replay import run_native
from handrail.experiments.domains.cluster import DOMAIN
from handrail.experiments.domains.cluster_system import ClusterScenario
from handrail.experiments.guarding import calibrated, calibration_jobs, guard_thresholds, run_calibration
from handrail.experiments.provenance import source_hash
from handrail.experiments.replay import replay
from handrail.experiments.scenario import Prepared, prepare
from handrail.policies.guards import GuardedPolicy, build_guard
from handrail.policies.parallel import run_jobs
from handrail.traces import load_job_trace

TRACE = "philly_until_2017-11-20.csv.gz"
EASY = ("fcfs", "sjf", "saf", "f1", "f2", "f3", "f4", "wfp3", "unicep")
ALONE = ("drf", "srtf", "las", "gittins")
PREEMPTIVE = ("srtf", "las", "gittins")
LEARNED = ("learned", "learned, guarded")
STRETCHES, RESAMPLES = 12, 2000


@dataclass(frozen=True)
class Row:
    """Columns of the measured jobs under one scheduler."""

    arrival_s: np.ndarray
    slowdown: np.ndarray
    wait_s: np.ndarray
    metrics: dict


def _row(results: ClusterResults) -> Row:
    measured = results.measured
    columns = (results.arrival_s, bounded_slowdown(results), wait_s(results))
    return Row(*(column[measured] for column in columns), compute_metrics(results))


def run(prepared: Prepared, guard: object, name: str) -> Row:
    """Replay the test part under one scheduler."""
    system, trace, scenario = prepared.system, prepared.trace, prepared.scenario
    if name in LEARNED:

        def build(layout):
            policy = DOMAIN.make_policy("bundled", system)
            if name == "learned":
                return policy
            return GuardedPolicy(policy, DOMAIN.make_heuristic("sjf", system), build_guard(guard, layout), layout)

        return _row(replay(system, trace, build, scenario.objective, measured=prepared.measured).results)
    discipline, _, knowledge = name.partition(", ")
    changes = {"discipline": discipline, "backfill": "easy" if discipline in EASY else "none"}
    if knowledge == "oracle":
        changes["knowledge"] = "true"
    elif discipline in ("las", "gittins", "drf"):
        changes["knowledge"] = "none"
    return _row(run_native(system.model_copy(update=changes), trace, measured=prepared.measured).results)


def p99_ratio(ours: Row, theirs: Row) -> str:
    """p99 slowdown over another's, with its interval."""
    edges = np.linspace(ours.arrival_s[0], np.nextafter(ours.arrival_s[-1], np.inf), STRETCHES + 1)
    place = np.searchsorted(edges, ours.arrival_s, side="right") - 1
    groups = [np.flatnonzero(place == k) for k in range(STRETCHES)]
    rng = np.random.default_rng(0)

    def ratio(rows: np.ndarray) -> float:
        return float(np.quantile(ours.slowdown[rows], 0.99) / np.quantile(theirs.slowdown[rows], 0.99))

    drawn = [
        ratio(np.concatenate([groups[i] for i in rng.integers(0, STRETCHES, STRETCHES)])) for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{ratio(np.arange(len(ours.slowdown))):.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("docs/results/philly.md"))
    options = parser.parse_args()
    trace = load_job_trace(options.data / "traces" / "cluster" / TRACE)
    prepared = prepare(trace, ClusterScenario(split="test"))
    jobs = calibration_jobs(trace, prepared.system, prepared.scenario, prepared.change, 1.0)
    guard = calibrated(
        guard_thresholds("bundled", prepared.system), 1.0, run_jobs(run_calibration, jobs, options.workers)
    )
    names = [*EASY, *ALONE, "sjf, oracle", *LEARNED]
    rows = dict(zip(names, run_jobs(partial(run, prepared, guard), names, options.workers), strict=True))
    best, preempting = (
        min(among, key=lambda name: float(np.quantile(rows[name].slowdown, 0.99)))
        for among in ((*EASY, "drf"), PREEMPTIVE)
    )
    lines = [
        "# Philly, test part",
        "",
        "    python benchmarks/philly_study.py --data FOLDER",
        "",
        f"SHA-256 of the sources begins `{source_hash()[:16]}`. {__doc__.split(chr(10) * 2, 2)[2].strip()}",
        "",
        f"{len(prepared.trace):,} jobs, {len(rows['sjf'].slowdown):,} measured; {DOMAIN.describe_system(prepared)}; "
        + prepared.change.sentence()
        + f". Best by p99 slowdown: **{best}** of those that let jobs run to their ends, as the learned policy does; "
        + f"**{preempting}** of those that preempt.",
        "",
        f"| | slowdown mean | p95 | p99 | p99 / {best} + EASY | wait mean, s | p99, s | GPU use | wasted |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, row in rows.items():
        label = f"**{name}**" if name in LEARNED else f"{name} + EASY" if name in EASY else name
        slowdown, waited = row.metrics["bounded_slowdown"], row.metrics["wait_s"]
        lines.append(
            f"| {label} | {slowdown['mean']:.2f} | {slowdown['p95']:.1f} | {slowdown['p99']:.1f} "
            f"| {p99_ratio(row, rows[best])} | {waited['mean']:,.0f} | {waited['p99']:,.0f} "
            f"| {row.metrics['utilisation']:.1%} | {row.metrics['wasted_share']:.1%} |"
        )
    lines += [
        "",
        "p99 slowdown by size of the job, GPUs:",
        "",
        "| | " + " | ".join(rows["sjf"].metrics["by_size"]) + " |",
    ]
    lines.append("|---|" + "--:|" * len(rows["sjf"].metrics["by_size"]))
    for name in (best, preempting, "sjf", *LEARNED):
        cells = [entry["p99_slowdown"] for entry in rows[name].metrics["by_size"].values()]
        lines.append(f"| {name} | " + " | ".join("-" if c is None else f"{c:.1f}" for c in cells) + " |")
    text = "\n".join(lines) + "\n"
    print(text)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
