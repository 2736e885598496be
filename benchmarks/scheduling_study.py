"""The learned batch policy against heuristics with EASY backfilling, on sequences that it has never seen.

    python benchmarks/scheduling_study.py --data ../shared [--out docs/results/scheduling.md]

- Lublin-1 from row 7,000 on and NASA iPSC: 50 sequences each of 1,024 jobs, starting at evenly spaced rows, on a
  cluster that is empty at first. Users ask for what they need (the traces have no requests), and once more with modal
  estimates after Tsafrir, Etsion and Feitelson. Mean bounded slowdown is the mean over sequences; waits are pooled.
  Intervals are 95 % bootstrap intervals over sequences, paired; the sequences overlap, so they are too narrow. At its
  recorded load nothing waits on NASA iPSC (its submit times are start times), so it is also compressed.
- RLScheduler's ten sequences under its own protocol, beside its published figures.

The policy (``policies/pretrained/cluster_batch``) was trained on the project's own Lublin-model generator alone.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scheduling_sequences import EASY_HEURISTICS, Played, Sequences, batch_cluster, play, play_guarded, play_scorer

from handrail.envs.cluster import layout_for
from handrail.experiments.provenance import source_hash
from handrail.experiments.statistics import bootstrap_ratio_of_sums, paired_mean_difference
from handrail.policies import load_policy, make_heuristic
from handrail.policies.guards import GuardConfig, GuardedPolicy, build_guard
from handrail.policies.parallel import run_jobs
from handrail.traces import JobTrace, load_job_trace
from handrail.traces.cluster.estimate_noise import modal_estimates

POLICY = Path(__file__).parent.parent / "policies" / "pretrained" / "cluster_batch"
DISCIPLINES = ("fcfs", "sjf", "saf", "f1", "f2", "f3", "f4", "wfp3", "unicep")
LEARNED = ("learned", "learned, guarded")
N_SEQUENCES, LENGTH = 50, 1024
LUBLIN_FIRST_ROW = 7000
NASA_LOAD = 0.8
REFERENCE_STARTS = (1981, 2756, 4299, 8850, 3316, 2714, 5228, 7762, 4022, 7085)
PUBLISHED = {"none": 254.67, "reference": 58.64}
RESAMPLES = 4000


def guarded_policy(sequences: Sequences) -> GuardedPolicy:
    """The learned policy behind the default guard for scheduling, for one sequence."""
    system, layout = sequences.system, layout_for(sequences.system.window)
    fallback = make_heuristic(
        "sjf", layout, domain="cluster", overdue_passes=system.overdue_passes, knowledge=system.knowledge
    )
    guard = build_guard(GuardConfig.for_scheduling(overdue_passes=system.overdue_passes), layout)
    return GuardedPolicy(load_policy(POLICY, layout, domain="cluster"), fallback, guard, layout)


@dataclass(frozen=True)
class Job:
    """One policy on all sequences of one workload."""

    sequences: Sequences
    name: str


def run(job: Job) -> tuple[list[Played], float]:
    """What each sequence gave; and the share of decisions that were the learned policy's, 0 for a heuristic."""
    if job.name not in LEARNED:
        return play(job.sequences, job.name), 0.0
    if job.name == "learned":
        layout = layout_for(job.sequences.system.window)
        return play_scorer(job.sequences, load_policy(POLICY, layout, domain="cluster").network), 1.0
    return play_guarded(job.sequences, partial(guarded_policy, job.sequences))


def sequences_of(trace: JobTrace, first: int, processors: int) -> Sequences:
    """``N_SEQUENCES`` sequences from row ``first`` on, evenly spaced."""
    starts = np.linspace(first, len(trace) - LENGTH, N_SEQUENCES).astype(int)
    return Sequences(tuple(trace.rows(int(start), LENGTH) for start in starts), batch_cluster(processors))


def quantile_ratio(ours: list[Played], theirs: list[Played], q: float = 0.99) -> str:
    """Ratio of a pooled quantile of the wait, with a bootstrap interval over sequences."""
    rng = np.random.default_rng(0)
    n = len(ours)

    def ratio(rows: np.ndarray) -> float:
        top = np.quantile(np.concatenate([ours[i].wait_s for i in rows]), q)
        bottom = np.quantile(np.concatenate([theirs[i].wait_s for i in rows]), q)
        return float((top + 1.0) / (bottom + 1.0))

    drawn = [ratio(rng.integers(0, n, n)) for _ in range(400)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{ratio(np.arange(n)):.3f} [{low:.3f}, {high:.3f}]"


def table(title: str, sequences: Sequences, workers: int) -> str:
    """One workload in Markdown."""
    names = [*DISCIPLINES, *LEARNED]
    found = dict(zip(names, run_jobs(run, [Job(sequences, name) for name in names], workers), strict=True))
    means = {name: [float(p.slowdown.mean()) for p in played] for name, (played, _) in found.items()}
    best = min(EASY_HEURISTICS, key=lambda name: float(np.mean(means[name])))
    lines = [
        f"## {title}",
        "",
        f"Best of {', '.join(EASY_HEURISTICS)} with EASY by mean bounded slowdown: **{best}**.",
        "",
        "| | bounded slowdown, mean | / best | p99 | wait p99, s | / FCFS + EASY | decided by it |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, (played, share) in found.items():
        slowdown = np.concatenate([p.slowdown for p in played])
        wait_s = np.concatenate([p.wait_s for p in played])
        ratio = bootstrap_ratio_of_sums(means[name], means[best])
        label = f"**{name}**" if name in LEARNED else f"{name} + EASY"
        lines.append(
            f"| {label} | {np.mean(means[name]):.2f} | {ratio} | {np.quantile(slowdown, 0.99):,.0f} "
            f"| {np.quantile(wait_s, 0.99):,.0f} | {quantile_ratio(played, found['fcfs'][0])} "
            f"| {f'{share:.1%}' if name in LEARNED else ''} |"
        )
    return "\n".join(lines) + "\n"


def reference_table(trace: JobTrace) -> str:
    """RLScheduler's ten sequences under its protocol."""
    lines = [
        "## RLScheduler's ten sequences, its protocol",
        "",
        "The chosen job is committed and blocks until it fits. Differences are paired by sequence: 95 % t intervals.",
        "",
        "| backfill | sjf | f1 | saf | learned | learned - sjf | learned - f1 | RLScheduler, published |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    parts = tuple(trace.rows(start, LENGTH) for start in REFERENCE_STARTS)
    for backfill, published in PUBLISHED.items():
        system = batch_cluster(256, protocol="rlscheduler", backfill=backfill, wait_limit_s=None)
        sequences = Sequences(parts, system)
        means = {
            name: [float(p.slowdown.mean()) for p in play(sequences, name, backfill)] for name in ("sjf", "f1", "saf")
        }
        network = load_policy(POLICY, layout_for(system.window), domain="cluster").network
        learned = [float(p.slowdown.mean()) for p in play_scorer(sequences, network)]
        cells = [f"{np.mean(means[name]):.2f}" for name in ("sjf", "f1", "saf")]
        cells += [f"{np.mean(learned):.2f} ± {np.std(learned, ddof=1):.0f} (sd)"]
        cells += [str(paired_mean_difference(learned, means[name])) for name in ("sjf", "f1")]
        lines.append(f"| {backfill} | {' | '.join(cells)} | {published} |")
    return "\n".join(lines) + "\n"


def exact(trace: JobTrace) -> JobTrace:
    """Users who ask for exactly what they need."""
    return trace.replace(estimate_s=np.array(trace.run_s))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("docs/results/scheduling.md"))
    options = parser.parse_args()
    folder = options.data / "traces" / "cluster"
    lublin = load_job_trace(folder / "lublin_1_256procs.swf")
    nasa = load_job_trace(folder / "NASA-iPSC-1993-3.1-cln.swf.zip")
    compressed = nasa.scale_rate(NASA_LOAD * 128 * nasa.duration_s / float(nasa.area_s.sum()))
    page = [
        "# Batch scheduling: learned against heuristics\n",
        "    python benchmarks/scheduling_study.py --data FOLDER\n",
        f"SHA-256 of the sources begins `{source_hash()[:16]}`.\n\n{__doc__.split(chr(10) * 2, 2)[2]}",
        table("Lublin-1 from row 7,000 on", sequences_of(exact(lublin), LUBLIN_FIRST_ROW, 256), options.workers),
        table("NASA iPSC", sequences_of(exact(nasa), 0, 128), options.workers),
        table(
            "Lublin-1 from row 7,000 on, modal estimates",
            sequences_of(modal_estimates(lublin, seed=0), LUBLIN_FIRST_ROW, 256),
            options.workers,
        ),
        table(
            f"NASA iPSC, arrivals compressed to an offered load of {NASA_LOAD}",
            sequences_of(exact(compressed), 0, 128),
            options.workers,
        ),
        table(
            f"NASA iPSC, arrivals compressed to an offered load of {NASA_LOAD}, modal estimates",
            sequences_of(modal_estimates(compressed, seed=0), 0, 128),
            options.workers,
        ),
        reference_table(exact(lublin)),
    ]
    text = "\n".join(page)
    print(text)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
