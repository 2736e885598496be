"""Small clusters to try guards on: traces, the loop, and a referee that keeps its own account of who passed whom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from handrail.envs.cluster import ClusterConfig, ClusterSimulator, SchedulerObserver
from handrail.envs.common import Layout
from handrail.policies import make_heuristic
from handrail.policies.guards import GuardConfig, GuardedPolicy, build_guard
from handrail.policies.interface import Feedback, OutcomeSignal
from handrail.traces import JobTrace

SLOWDOWN_LIMIT = 20.0
"""Bounded slowdown above which a job counts as a violation."""


def jobs_of(
    arrival_s: np.ndarray,
    run_s: np.ndarray,
    processors: np.ndarray,
    estimate_s: np.ndarray | None = None,
    tenant: np.ndarray | None = None,
) -> JobTrace:
    """Jobs that ask for processors."""
    n = len(arrival_s)
    return JobTrace(
        arrival_s=arrival_s,
        run_s=run_s,
        estimate_s=run_s if estimate_s is None else estimate_s,
        tasks=processors,
        gpu_milli=np.zeros(n, dtype=int),
        cpu_milli=np.full(n, 1000),
        memory_mib=np.zeros(n, dtype=int),
        tenant=tenant,
        tenant_names=() if tenant is None else ("a", "b"),
    )


def batch(n: int, seed: int, *, processors: int = 64, load: float = 0.8) -> JobTrace:
    """Poisson arrivals of jobs with log-normal run times (median 5 minutes) and sizes up to a quarter of it all."""
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    run_s = np.maximum(np.exp(rng.normal(np.log(300.0), 1.5, n)), 5.0)
    size = 2 ** rng.integers(0, int(np.log2(processors)) - 1, n)
    rate = load * processors / float((run_s * size).mean())
    return jobs_of(np.cumsum(rng.exponential(1.0 / rate, n)), run_s, size, run_s * rng.uniform(1.0, 3.0, n))


@dataclass
class Referee:
    """Counts passes from the trace and the queue alone, as the bound's own words have it."""

    simulator: ClusterSimulator
    passes: dict[int, int] = field(default_factory=dict)
    most: int = 0
    out_of_turn: int = 0

    def starts(self, row: int) -> None:
        """Job ``row`` is started by the decision that is open now."""
        state, config = self.simulator.state, self.simulator.config
        arrival_s = self.simulator.trace.arrival_s
        assert config.wait_limit_s is not None
        late = self.simulator.now_s - arrival_s > config.wait_limit_s
        for other in list(state.waiting):
            if other < row and late[other] and state.within_quota(other):
                self.passes[other] = self.passes.get(other, 0) + 1
                self.most = max(self.most, self.passes[other])
                self.out_of_turn += bool(late[row])
        self.passes.pop(row, None)


@dataclass
class Run:
    """What a replay left behind."""

    simulator: ClusterSimulator
    referee: Referee | None
    decisions: list[tuple[float, int, bool]]
    """(time, action, whether it was to wait)."""

    def slowdown(self, q: float) -> float:
        """A quantile of the bounded slowdown, +inf where lost."""
        results = self.simulator.results()
        jct_s = np.where(results.status == 0, results.finish_s - results.arrival_s, np.inf)
        return float(np.quantile(np.maximum(jct_s / np.maximum(results.run_s, 10.0), 1.0), q, method="higher"))


def replay(config: ClusterConfig, trace: JobTrace, decider: Callable[[Layout], Any], seed: int = 0) -> Run:
    """The loop: ``decider`` makes the policy for the layout."""
    simulator = ClusterSimulator(config, trace, seed, decide="job")
    observe = SchedulerObserver(simulator)
    policy = decider(observe.layout)
    notify = getattr(policy, "notify", None)
    referee = Referee(simulator) if config.wait_limit_s is not None else None
    state, log = None, []
    wait = observe.layout.n_replicas - 1
    while (point := simulator.advance()) is not None:
        if notify is not None:
            ended = tuple(
                OutcomeSignal(o.decision, o.bounded_slowdown > SLOWDOWN_LIMIT, o.jct_s) for o in point.outcomes
            )
            notify(Feedback(point.now_s, point.decision, point.action_mask, ended))
        action, state = policy.predict(observe(point), state)
        if referee is not None and action != wait:
            assert simulator.window is not None
            referee.starts(int(simulator.window.rows[action]))
        log.append((point.now_s, action, action == wait))
        simulator.apply(action, getattr(policy, "latency_s", 0.0))
    return Run(simulator, referee, log)


def fallback(layout: Layout, config: ClusterConfig, name: str = "sjf"):
    return make_heuristic(name, layout, domain="cluster", overdue_passes=config.overdue_passes)


def guarded(
    policy: Callable[[Layout], Any], guard: GuardConfig, config: ClusterConfig
) -> Callable[[Layout], GuardedPolicy]:
    """The policy behind the guard, with SJF as its fallback."""
    return lambda layout: GuardedPolicy(policy(layout), fallback(layout, config), build_guard(guard, layout), layout)


class LegalLots:
    """Any legal choice, with ``wait_share`` of the draws to wait where that is legal; sometimes the last in line."""

    def __init__(self, layout: Layout, seed: int, wait_share: float = 0.2) -> None:
        self._layout = layout
        self._wait_share = wait_share
        self._rng = np.random.default_rng(np.random.SeedSequence(seed))

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        up = self._layout.replica(observation, "up")
        jobs = np.flatnonzero(up[:-1])
        if up[-1] and (self._rng.random() < self._wait_share or not jobs.size):
            return len(up) - 1, state
        return int(jobs[-1] if self._rng.random() < 0.5 else self._rng.choice(jobs)), state


class NeverStarts:
    """Always to wait."""

    def __init__(self, layout: Layout) -> None:
        self._wait = layout.n_replicas - 1

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        return self._wait, state
