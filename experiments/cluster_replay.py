"""Replaying a job trace under the cluster's own scheduler, and sequences of jobs cut out of one trace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from ..envs.cluster import ClusterConfig, ClusterResults, ClusterSimulator
from ..envs.cluster.metrics import LOST_REASONS, Objective, bounded_slowdown, jct_s, lost_counts, wait_s
from ..envs.common.tails import summarize
from ..traces import JobTrace
from .replay import Failure, replay
from .splits import MeasuredWindow

LATENCIES = {"bounded_slowdown": bounded_slowdown, "wait_s": wait_s, "jct_s": jct_s}
"""Metrics of sequences."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A replay that went through: its results, and the wall seconds inside the simulator."""

    results: ClusterResults
    simulate_s: float


Run = Callable[[JobTrace], Ran | Failure]


def run_native(system: ClusterConfig, trace: JobTrace, *, measured: MeasuredWindow | None = None, seed: int = 0) -> Ran:
    """Replay ``trace`` under the system's own discipline; no policy is asked.

    Raises:
        HandrailError: Trace and system do not go together.
    """
    measured_s = None if measured is None else (measured.start_s, measured.end_s)
    began = perf_counter()
    simulator = ClusterSimulator(system, trace, seed, measured_s=measured_s)
    point = simulator.advance()
    assert point is None, "nobody is asked"
    simulate_s = perf_counter() - began
    return Ran(simulator.results(), simulate_s)


def run_policy_on(system: ClusterConfig, policy: str, objective: Objective, seed: int) -> Run:
    """A function that replays a trace under the policy of that name."""

    def run(trace: JobTrace) -> Ran | Failure:
        done = replay(system, trace, policy, objective, seed=seed)
        return done.failure or Ran(done.results, done.timing.simulate_s)

    return run


def run_sequences(
    trace: JobTrace,
    starts: Sequence[int],
    length: int,
    run: Run,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[dict[str, Any], float]:
    """Replay sequences of consecutive jobs, each on a cluster that is empty at its first arrival.

    Args:
        trace: The whole trace.
        starts: First row of each sequence, 0-based.
        length: Jobs a sequence.
        run: Replays one of them.
        on_progress: Told the sequences done and their number.

    Returns:
        Metrics, in JSON's types: for each of ``LATENCIES`` the mean over sequences of the sequence's mean, and
        quantiles over all jobs of all sequences; the sequences' own means under ``sequences``. Where the policy fails,
        only why, when and in the sequence from which row on. And the wall seconds inside the simulator.

    Raises:
        TraceError: The trace has no such rows.
    """
    pooled: dict[str, list[Any]] = {name: [] for name in LATENCIES}
    lost = dict.fromkeys(LOST_REASONS.values(), 0)
    simulate_s = 0.0
    parts = [trace.rows(start, length) for start in starts]
    for done, part in enumerate(parts, start=1):
        ran = run(part)
        if isinstance(ran, Failure):
            start = starts[done - 1]
            return {"failed": ran.reason, "at_decision": ran.at_decision, "in_sequence": start}, simulate_s
        simulate_s += ran.simulate_s
        for name, values in LATENCIES.items():
            pooled[name].append(values(ran.results))
        for reason, count in lost_counts(ran.results).items():
            lost[reason] += count
        on_progress(done, len(parts))
    content: dict[str, Any] = {"jobs": length * len(parts), "lost": lost}
    means: dict[str, list[float | None]] = {}
    for name, values in pooled.items():
        each = np.array([float(np.mean(v)) for v in values])
        means[name] = [float(m) if np.isfinite(m) else None for m in each]
        mean = float(np.mean(each))
        content[name] = {**summarize(np.concatenate(values)), "mean": mean if np.isfinite(mean) else None}
    content["sequences"] = {"starts": list(starts), "length": length, "means": means}
    return content, simulate_s
