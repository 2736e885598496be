"""How far the tails of a schedule move by chance: the fallback against itself on arrivals that are a little off.

    python benchmarks/scheduling_chance.py [--data ../shared] [--draws 6] [--workers 2]

The study's cluster placebo is the fallback with other tie-breaks, and on traces whose jobs hardly tie it moves nothing.
Here each job of a replicate arrives up to half of its gap to the next one later, in the same order, as in the study's
placebo of prefetching. Each line is a clean cell of ``study guard --quick``: the least and largest p99 ratio of such a
run to the fallback's over the draws, as the study takes a cell's ratio (geometric mean over replicates), and, as its
containment is taken, the largest ratio of the pooled p99s over the jobs that arrive after a third of the time.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handrail.envs.common.tails import quantiles
from handrail.experiments.scenarios import parse_stress, run_stressed
from handrail.experiments.study.config import TraceSpec, bundled_config
from handrail.experiments.study.measure import MEASURES, tail_names
from handrail.experiments.study.realise import jittered, missing_files, realise
from handrail.policies.parallel import run_jobs

CELLS = (("lublin-1", 0.7), ("lublin-1", 0.8), ("nasa", 0.7), ("nasa", 0.8), ("bundled", 0.8), ("philly", 0.85))
Tails = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Replicate:
    """One replicate of a cell, and the draws to make of it."""

    spec: TraceSpec
    data: Path
    load: float
    number: int
    draws: int


def tails_of(job: Replicate) -> list[tuple[Tails, Tails]]:
    """The fallback's run and each draw's: tails of all measured jobs, and of those after a third of the time."""
    prepared = realise("cluster", job.spec, job.data, "test", job.load, job.number, 0)
    start_s, end_s = float(prepared.trace.arrival_s[0]), float(prepared.trace.arrival_s[-1])
    runs = []
    for draw in range(job.draws + 1):
        moved = prepared if draw == 0 else jittered(prepared, draw)
        domain, scenario = moved.domain, moved.scenario
        fallback = lambda _, d=domain, s=scenario, m=moved: d.make_heuristic(s.fallback, m.system, s.seed)  # noqa: E731
        results = run_stressed(moved, parse_stress("none"), fallback=fallback).run.results
        measured = np.asarray(results.measured)
        late = measured & (np.asarray(results.arrival_s) >= start_s + (end_s - start_s) / 3.0)
        tails = MEASURES["cluster"].tails(results)
        runs.append(({t: column[measured] for t, column in tails.items()}, {t: c[late] for t, c in tails.items()}))
    return runs


def p99(values: NDArray[np.float64]) -> float:
    """The p99 as everywhere in handrail."""
    return float(quantiles(values, [0.99])[0])


def lines_of(name: str, found: Sequence[list[tuple[Tails, Tails]]], draws: int) -> list[str]:
    """A line of the table for each tail of a cell."""
    lines = []
    for tail in tail_names("cluster"):
        whole, later = [], []
        for draw in range(1, draws + 1):
            logs = [np.log(p99(runs[draw][0][tail]) / p99(runs[0][0][tail])) for runs in found]
            whole.append(float(np.exp(np.mean(logs))))
            pools = [np.concatenate([runs[k][1][tail] for runs in found]) for k in (draw, 0)]
            later.append(p99(pools[0]) / p99(pools[1]))
        lines.append(f"| {name} | {tail} | {min(whole):.3f} to {max(whole):.3f} | {max(later):.3f} |")
    return lines


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("HANDRAIL_DATA") or "../shared"))
    parser.add_argument("--draws", type=int, default=6)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    traces = bundled_config("guard_study_quick").domains["cluster"].traces
    print("| cell | tail | p99 over the fallback's | largest, after a third of the time |\n|---|---|---|---|")
    for trace, load in CELLS:
        spec = traces[trace]
        if missing := missing_files("cluster", spec, options.data):
            print(f"{trace} is left out: no {missing[0]} in {options.data}")
            continue
        jobs = [Replicate(spec, options.data, load, n, options.draws) for n in range(spec.replicates.count)]
        found = run_jobs(tails_of, jobs, options.workers)
        print("\n".join(lines_of(f"{trace} at {load:g}", found, options.draws)), flush=True)


if __name__ == "__main__":
    main()
