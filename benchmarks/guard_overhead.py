"""What the default guard costs a decision beyond the two ``predict`` calls, and what each of its parts costs.

    python benchmarks/guard_overhead.py [--decisions 20000] [--replicas 4] [--json]

The guarded policy runs over synthetic observations with outcomes that lag by some decisions; each decision is timed
and the two bare ``predict`` calls, timed in the same process over the same observations, are taken off. The parts are
timed alone on one context. Microseconds of wall-clock time.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np

from handrail.envs.common.layout import Layout
from handrail.envs.llm_serving.layout import layout_for
from handrail.policies.guards import CheckContext, GuardConfig, GuardedPolicy, JudgedOutcome, Verdict, build_guard
from handrail.policies.guards.checks import BUILDERS
from handrail.policies.guards.recorder import DecisionRecorder
from handrail.policies.guards.supervisor import State
from handrail.policies.interface import Feedback, OutcomeSignal, Policy

LAG = 50


class Column:
    """Takes the replica with the smallest value of one observation field."""

    def __init__(self, layout: Layout, name: str) -> None:
        self.layout, self.field = layout, name

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        return int(self.layout.replica(observation, self.field).argmin()), None


def observations(layout: Layout, count: int) -> np.ndarray:
    """Random observations, shape (count, layout.size), in which the two policies often differ but few are vetoed."""
    rng = np.random.default_rng(np.random.SeedSequence(7))
    out = rng.random((count, layout.size), dtype=np.float32)
    for row in out:
        layout.replica(row, "ttft_s")[:] *= 0.06
        layout.replica(row, "drain_s")[:] *= 0.55
        layout.replica(row, "decode_step_s")[:] *= 0.012
    return out


def time_policies(policy: Policy, fallback: Policy, rows: np.ndarray) -> np.ndarray:
    """Wall-clock microseconds of the two bare ``predict`` calls at each observation, shape (decisions,)."""
    took = np.empty(len(rows))
    for i, row in enumerate(rows):
        start = time.perf_counter_ns()
        fallback.predict(row, None, None, True)
        policy.predict(row, None, None, True)
        took[i] = time.perf_counter_ns() - start
    return took / 1e3


def time_guarded(guarded: GuardedPolicy, rows: np.ndarray, n_replicas: int) -> np.ndarray:
    """Wall-clock microseconds of ``notify`` and ``predict`` at each observation, shape (decisions,)."""
    took = np.empty(len(rows))
    mask = np.ones(n_replicas, dtype=bool)
    state = None
    for i, row in enumerate(rows):
        outcomes = (OutcomeSignal(i - LAG, i % 50 == 0, 0.2),) if i >= LAG else ()
        feedback = Feedback(0.1 * i, i, mask, outcomes)
        start = time.perf_counter_ns()
        guarded.notify(feedback)
        _, state = guarded.predict(row, state)
        took[i] = time.perf_counter_ns() - start
    return took / 1e3


def time_call(call: Callable[[], object], repeats: int = 20_000) -> float:
    """Microseconds a call, the best of five rounds."""
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter_ns()
        for _ in range(repeats // 5):
            call()
        best = min(best, (time.perf_counter_ns() - start) / (repeats // 5))
    return best / 1e3


def time_parts(config: GuardConfig, layout: Layout, row: np.ndarray) -> dict[str, float]:
    """Microseconds a decision of each part alone, for an accepted proposal that differs from the fallback's."""
    mask = np.ones(layout.n_replicas, dtype=bool)

    def context() -> CheckContext:
        made = CheckContext(row, layout, 0.0, 0, mask, 0, [JudgedOutcome(0, False, 0.1, True)], 0)
        made.action, made.malformed = 1, ""
        return made

    parts = {"context": time_call(context)}
    for check_config in config.checks:
        check = BUILDERS[type(check_config)](check_config, layout)
        seen = context()
        parts[check.name] = time_call(lambda check=check, seen=seen: check.judge(seen))
    supervisor = build_guard(config, layout).supervisor
    accept = Verdict("accept", "contract", "ok")
    parts["supervisor"] = time_call(
        lambda: (supervisor.advance(0.0, 0), supervisor.note_verdict(0.0, 0, accept, False))
    )
    recorder = DecisionRecorder()
    parts["recorder, accept"] = time_call(lambda: recorder.append(0.0, 1, 0, 1, True, True, State.CLOSED, accept))
    veto = Verdict("veto", "cost-margin:ttft_s", "ttft-s-over-margin", (("proposed", 1.0), ("limit", 0.5)))
    parts["recorder, veto"] = time_call(lambda: recorder.append(0.0, 1, 0, 0, True, False, State.CLOSED, veto))
    return parts


def main() -> None:
    """Time, print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--decisions", type=int, default=20_000)
    parser.add_argument("--replicas", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    layout = layout_for(args.replicas)
    config = GuardConfig.for_routing(capacity_per_s=1.0)
    rows = observations(layout, args.decisions)
    policy, fallback = Column(layout, "ttft_s"), Column(layout, "drain_s")
    bare = time_policies(policy, fallback, rows)
    guarded = GuardedPolicy(policy, fallback, build_guard(config, layout), layout)
    extra = time_guarded(guarded, rows, args.replicas) - float(np.median(bare))
    parts = time_parts(config, layout, rows[0] * 0)
    report = {
        "decisions": args.decisions,
        "replicas": args.replicas,
        "availability": round(guarded.availability, 4),
        "two_predicts_us": round(float(np.median(bare)), 2),
        "guard_mean_us": round(float(extra.mean()), 2),
        "guard_p50_us": round(float(np.median(extra)), 2),
        "guard_p99_us": round(float(np.quantile(extra, 0.99)), 2),
        "parts_us": {name: round(value, 2) for name, value in parts.items()},
    }
    if args.json:
        print(json.dumps(report))
        return
    for name, value in report.items():
        if name != "parts_us":
            print(f"{name:24s} {value:>10}")
    for name, value in parts.items():
        print(f"  {name:22s} {value:10.2f}")


if __name__ == "__main__":
    main()
