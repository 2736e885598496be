"""What the default guard lets through: tails behind it as ratios to the fallback's, policy by policy.

    python benchmarks/guard_margins.py TRACE [--load 0.8] [--placebos 4]

Beside the sabotage kinds it runs an *insider*, which knows the fallback and every margin and takes the allowed replica
with the longest expected time to first token (so that no cost check ever vetoes it), and an *honest* stand-in for a
learned policy, the least sum of expected drain and expected time to first token. Placebos are the fallback with other
tie-breaks, and the fallback with one wrong decision early in the run.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from handrail.envs.common.layout import Layout
from handrail.envs.llm_serving.metrics import compute_metrics
from handrail.experiments.domains.llm import DEFAULT_FALLBACK, LLMScenario
from handrail.experiments.guarding import calibrated, calibration_jobs, run_calibration
from handrail.experiments.replay import replay
from handrail.experiments.scenario import Prepared, prepare
from handrail.policies import SABOTAGES, make_heuristic, make_sabotage
from handrail.policies.guards import CostMarginConfig, GuardConfig, GuardedPolicy, build_guard
from handrail.traces import load_trace

METRICS = ("ttft_s", "tbt_s", "e2e_s")


class Insider:
    """The replica with the longest expected time to first token among those that no cost check would veto."""

    def __init__(self, layout: Layout, config: GuardConfig) -> None:
        self._layout = layout
        self._fallback = make_heuristic(DEFAULT_FALLBACK, layout, 0)
        self._margins = [check for check in config.checks if isinstance(check, CostMarginConfig)]

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        safe = int(self._fallback.predict(observation)[0])
        allowed = self._layout.replica(observation, "up") > 0
        for margin in self._margins:
            cost = self._layout.replica(observation, margin.field).astype(np.float64)
            allowed &= cost <= cost[safe] * (1 + margin.relative_margin) + margin.absolute_margin
        wait_s = np.where(allowed, self._layout.replica(observation, "ttft_s"), -1.0)
        return (int(wait_s.argmax()) if allowed.any() else safe), None


class Honest:
    """The least sum of expected drain and expected time to first token among the replicas that are up."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        score = self._layout.replica(observation, "drain_s") + self._layout.replica(observation, "ttft_s")
        return int(np.where(self._layout.replica(observation, "up") > 0, score, np.inf).argmin()), None


class OneWrong:
    """The fallback, but for one decision that goes to the next replica."""

    def __init__(self, layout: Layout, at_decision: int) -> None:
        self._fallback = make_heuristic(DEFAULT_FALLBACK, layout, 0)
        self._left, self._n = at_decision, layout.n_replicas

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        action = int(self._fallback.predict(observation)[0])
        self._left -= 1
        return ((action + 1) % self._n if self._left == 0 else action), None


def p99(prepared: Prepared, policy: Any) -> np.ndarray:
    """p99 of TTFT, TBT and E2E in seconds, shape (3,); infinite where it falls among the lost."""
    objective = prepared.scenario.objective
    run = replay(prepared.system, prepared.trace, policy, objective, measured=prepared.measured)
    metrics = compute_metrics(run.results, objective)
    return np.array([np.inf if metrics[name]["p99"] is None else metrics[name]["p99"] for name in METRICS])


def main() -> None:
    """Calibrate, replay, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trace")
    parser.add_argument("--load", type=float, default=0.8)
    parser.add_argument("--placebos", type=int, default=4)
    args = parser.parse_args()
    trace = load_trace(args.trace)
    prepared = prepare(trace, LLMScenario(load=args.load))
    capacity_rps = prepared.change.capacity_rps
    jobs = calibration_jobs(trace, prepared.system, prepared.scenario, prepared.change, capacity_rps)
    config = calibrated(GuardConfig.for_routing(), capacity_rps, [run_calibration(job) for job in jobs])
    fallback = p99(prepared, DEFAULT_FALLBACK)
    print(f"{len(prepared.trace)} requests; fallback p99 (s): TTFT {fallback[0]:.3f} TBT {fallback[1]:.3f}", end=" ")
    print(f"E2E {fallback[2]:.2f}")
    print(f"{'':24s}{'TTFT':>8s}{'TBT':>8s}{'E2E':>8s}  availability, interventions")

    def show(name: str, ratios: np.ndarray, note: str = "") -> None:
        print(f"{name:24s}" + "".join(f"{ratio:8.3f}" for ratio in ratios) + f"  {note}", flush=True)

    for seed in range(1, args.placebos + 1):
        ties = p99(prepared, lambda layout, seed=seed: make_heuristic(DEFAULT_FALLBACK, layout, 0, tie_seed=seed))
        show(f"placebo, ties {seed}", ties / fallback)
        show(
            f"placebo, one wrong {seed}",
            p99(prepared, lambda layout, seed=seed: OneWrong(layout, 10 * seed)) / fallback,
        )
    contenders = {f"sabotage:{kind}": lambda layout, kind=kind: make_sabotage(kind, layout) for kind in SABOTAGES}
    contenders |= {"insider": lambda layout: Insider(layout, config), "honest": Honest}
    for name, make in contenders.items():
        made: list[GuardedPolicy] = []

        def build(layout: Layout, make=make, made=made) -> GuardedPolicy:
            fallback_policy = make_heuristic(DEFAULT_FALLBACK, layout, 0)
            made.append(GuardedPolicy(make(layout), fallback_policy, build_guard(config, layout), layout))
            return made[0]

        ratios = p99(prepared, build) / fallback
        show(name, ratios, f"{made[0].availability:.3f} {made[0].interventions}")


if __name__ == "__main__":
    main()
