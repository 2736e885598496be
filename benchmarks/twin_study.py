"""What the digital twin alone holds off: broken policies and the bundled one behind contract and twin, no other check.

    python benchmarks/twin_study.py [--domains llm cluster prefetch] [--workers 2] [--out docs/results/twin.md]

The first items of the validation part of each bundled trace, at the default load. The fallback, each policy alone and
each policy behind the guard replay the same items; the twin's latency model is right, or off by 20 % either way. All
margins are 0: a proposal is vetoed where its mean forecast cost is above the fallback's at all, and proposals between
two that are played get the verdict of the last one. Where asks are rare, what is played is the policy's rule until the
next one (``follow_s``), else the proposal alone. The supervisor never opens for vetoes, so that what is seen is the
twin's own work. The placebo is the fallback with other tie-breaks, where it breaks any.

p99 is of the domain's headline latency over all items, over the fallback's; so is the mean. *Available*: share of the
decisions that were the policy's. *Asks*: decisions that were played forward. *ms an ask*: processor time of redrawing,
forking and playing all futures of both choices.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handrail.envs.common import Layout
from handrail.experiments.cli import options
from handrail.experiments.domains import domain_named
from handrail.experiments.provenance import source_hash
from handrail.experiments.replay import replay
from handrail.experiments.scenario import Prepared, prepare
from handrail.policies.guards import (
    CheckContext,
    ContractConfig,
    Forecast,
    GuardConfig,
    GuardedPolicy,
    SupervisorConfig,
    TwinConfig,
    Verdict,
    build_guard,
)
from handrail.policies.parallel import run_jobs

POLICIES = ("sabotage:random", "sabotage:worst", "bundled")
FACTORS = (0.8, 1.0, 1.2)
ITEMS = {"llm": 5_000, "cluster": 20_000, "prefetch": 2_000}
"""Most items that are replayed."""
TWINS = {
    "llm": TwinConfig(horizon_s=8.0, futures=4, min_gap_s=4.0, follow_s=4.0, relative_margin=0.0, z=0.0),
    "cluster": TwinConfig(
        horizon_s=4 * 3600.0, futures=2, min_gap_s=3600.0, follow_s=3600.0, relative_margin=0.0, z=0.0
    ),
    "prefetch": TwinConfig(horizon_s=5.0, futures=4, relative_margin=0.0, z=0.0),
}
PATIENT = SupervisorConfig(veto_share_limit=1.0)
HEADER = ("policy", "latency model", "p99", "mean", "alone p99", "alone mean", "available", "asks", "ms an ask")


@dataclass(frozen=True)
class Job:
    """One replay: the fallback (``policy`` empty), a policy alone (no ``factor``), or one behind the twin."""

    domain: str
    policy: str = ""
    factor: float | None = None
    tie_seed: int | None = None


@dataclass(frozen=True)
class Run:
    """What one replay gave."""

    p99: float
    mean: float
    items: int
    decisions: int
    availability: float = 0.0
    ask_ms: tuple[float, ...] = ()


class TimedForecast:
    """A forecast whose processor time is taken down."""

    def __init__(self, forecast: Forecast, took_ms: list[float]) -> None:
        self._forecast, self._took_ms = forecast, took_ms

    def costs(self, actions: Sequence[int], horizon_s: float, futures: int) -> NDArray[np.float64]:
        start = time.thread_time()
        costs = self._forecast.costs(actions, horizon_s, futures)
        self._took_ms.append((time.thread_time() - start) * 1e3)
        return costs

    def costs_of_following(self, action: int, horizon_s: float, futures: int, follow_s: float) -> NDArray[np.float64]:
        start = time.thread_time()
        costs = self._forecast.costs_of_following(action, horizon_s, futures, follow_s)
        self._took_ms[-1] += (time.thread_time() - start) * 1e3  # the same ask: the fallback's costs came first
        return costs


def timed(judge: Callable[[CheckContext], Verdict], took_ms: list[float]) -> Callable[[CheckContext], Verdict]:
    """A check's ``judge`` that takes down what its forecasts took."""

    def judged(context: CheckContext) -> Verdict:
        if context.forecast is not None:
            context.forecast = TimedForecast(context.forecast, took_ms)
        return judge(context)

    return judged


def prepared_for(name: str) -> Prepared:
    """The validation part of the domain's bundled trace."""
    groups = (options.LLMOptions(), options.ClusterOptions(), options.PrefetchOptions())
    domain, own = options.chosen(name, *groups)
    scenario = domain.scenario_type(load=domain.default_load, split="validation")
    return prepare(own.read_trace(options.TrafficOptions()), scenario, lambda _: None)


def run(job: Job) -> Run:
    """One replay."""
    prepared = prepared_for(job.domain)
    domain, scenario, system = prepared.domain, prepared.scenario, prepared.system
    took_ms: list[float] = []
    guards: list[GuardedPolicy] = []

    def build(layout: Layout) -> Any:
        fallback = domain.make_heuristic(scenario.fallback, system, scenario.seed, job.tie_seed)
        if not job.policy:
            return fallback
        policy = domain.make_policy(job.policy, system, scenario.seed)
        if job.factor is None:
            return policy
        twin = TWINS[job.domain].model_copy(update={"latency_factor": job.factor})
        guard = build_guard(GuardConfig(checks=(ContractConfig(), twin), supervisor=PATIENT), layout)
        for check in guard.checks:
            if check.name == "twin":
                check.judge = timed(check.judge, took_ms)  # type: ignore[method-assign]
        guards.append(GuardedPolicy(policy, fallback, guard, layout, domain.make_last_rung(system)))
        return guards[0]

    trace = prepared.trace.head(ITEMS[job.domain])
    done = replay(system, trace, build, scenario.objective, seed=scenario.seed)
    headline = domain.headline(done.results)
    availability = guards[0].availability if guards else 0.0
    decisions = len(done.decisions.action)
    p99 = float(np.quantile(headline, 0.99, method="higher"))
    print(job, f"p99 {p99:.4g}, {len(took_ms)} asks, {time.process_time():.0f} s of processor time", file=sys.stderr)
    return Run(p99, float(headline.mean()), len(headline), decisions, availability, tuple(took_ms))


def jobs_of(name: str) -> list[Job]:
    """All replays of a domain."""
    behind = [Job(name, policy, factor) for policy in POLICIES for factor in FACTORS]
    return [Job(name), Job(name, tie_seed=1), *(Job(name, policy) for policy in POLICIES), *behind]


def section(name: str, runs: dict[Job, Run]) -> str:
    """One domain's table."""
    base, placebo, twin = runs[Job(name)], runs[Job(name, tie_seed=1)], TWINS[name]
    quantity = domain_named(name).report.figure.quantity
    text = f"## {name}\n\n{base.items:,} items, {base.decisions:,} decisions of the fallback, whose {quantity} has p99 "
    text += f"{base.p99:.4g} and mean {base.mean:.4g} (the placebo's over these {placebo.p99 / base.p99:.3f} and "
    rare = f"at most one ask in {twin.min_gap_s:g} s" if twin.min_gap_s else "asked wherever the two differ"
    rare += f", the policy followed for {twin.follow_s:g} s" if twin.follow_s else ", the proposal alone"
    text += f"{placebo.mean / base.mean:.3f}). Futures: {twin.futures} of {twin.horizon_s:g} s, {rare}.\n\n"
    text += f"| {' | '.join(HEADER)} |\n|---|{'--:|' * (len(HEADER) - 1)}\n"
    for policy in POLICIES:
        alone = runs[Job(name, policy)]
        for factor in FACTORS:
            it = runs[Job(name, policy, factor)]
            ratios = [x / y for r in (it, alone) for x, y in ((r.p99, base.p99), (r.mean, base.mean))]
            ask = np.mean(it.ask_ms) if it.ask_ms else 0.0
            cells = [f"{ratio:.3f}" for ratio in ratios]
            text += f"| `{policy}` | x {factor:g} | {' | '.join(cells)} "
            text += f"| {it.availability:.2f} | {len(it.ask_ms)} | {ask:.0f} |\n"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domains", nargs="+", choices=list(TWINS), default=list(TWINS))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("docs/results/twin.md"))
    chosen = parser.parse_args()
    about = __doc__.split("\n\n", 2)[2].strip()
    page = "# The digital twin as the only guard\n\n`python benchmarks/twin_study.py`. SHA-256 of the sources begins "
    page += f"`{source_hash()[:16]}`. {about}\n"
    jobs = [job for name in chosen.domains for job in jobs_of(name)]
    runs = dict(zip(jobs, run_jobs(run, jobs, chosen.workers), strict=True))
    for name in chosen.domains:
        page += "\n" + section(name, runs)
        print(section(name, runs))
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
