"""Random fleets of different replicas under outages, with decisions that take time, for tests of whole simulators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st
from implementations import replica_config
from naive_vllm import Request, run_naive
from workloads import PREFIX_TOKENS, Pick, draw_workload

from handrail.envs.llm_serving import (
    DecisionPoint,
    FleetConfig,
    KVCut,
    Outage,
    RouterObserver,
    ServingResults,
    ServingSimulator,
    Slowdown,
)

COLUMNS = ("scheduled_s", "first_token_s", "finish_s", "tokens_generated", "preemptions", "replica", "status")
GAPS = ("longest_gap_s", "gap_p99_s")
QUANTILES = (0.0, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0)


@st.composite
def picks(draw) -> Pick:
    """Hypothesis as a source of integers."""
    return lambda low, high: draw(st.integers(low, high))


def assert_identical(one: ServingResults, other: ServingResults) -> None:
    """Equal in every bit: columns, step records and token gaps."""
    for name in (*COLUMNS, *GAPS):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name, strict=True)
    for mine, theirs in zip(one.records, other.records, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert one.token_gaps.count == other.token_gaps.count
    if one.token_gaps.count:
        np.testing.assert_array_equal(one.token_gaps.quantile(QUANTILES), other.token_gaps.quantile(QUANTILES))
        assert one.token_gaps.mean() == other.token_gaps.mean()
        assert one.token_gaps.max() == other.token_gaps.max()
    assert one.end_s == other.end_s


def draw_fleet(pick: Pick) -> tuple[FleetConfig, list[Request], dict[int, float]]:
    """Two or three different replicas, some faults, decisions that take time, and ties between all of these."""
    workloads = [draw_workload(pick, exact=bool(pick(0, 1))) for _ in range(pick(2, 3))]
    requests = sorted((r for w in workloads for r in w.requests), key=lambda r: r.arrival_s)
    outages = []
    for index, workload in enumerate(workloads):
        steps = run_naive(workload.engine, workload.latency, workload.requests, PREFIX_TOKENS).steps
        after = 0.0
        for _ in range(pick(0, 2)):
            ends = [step.end_s for step in steps if step.end_s >= after]
            if not ends:
                break
            down = ends[pick(0, len(ends) - 1)]
            after = down + pick(1, 40) / 4
            outages.append(Outage(replica=index, down_s=down, up_s=after))
    end = int(requests[-1].arrival_s) + 20
    windows = [(pick(0, len(workloads) - 1), pick(0, 2 * end) / 2, pick(1, 40) / 4) for _ in range(pick(0, 4))]
    slowdowns, kv_cuts = [], []
    for replica, start_s, lasts_s in windows:
        window = {"replica": replica, "start_s": start_s, "end_s": start_s + lasts_s}
        if pick(0, 1):
            slowdowns.append(Slowdown(factor=pick(1, 12) / 4, **window))
        else:
            kv_cuts.append(KVCut(share=pick(0, 7) / 8, **window))
    latencies = {number: pick(0, 12) / 8 for number in range(0, 40, 2)} if pick(0, 1) else {}
    config = FleetConfig(
        replicas=tuple(replica_config(w.engine, w.latency) for w in workloads),
        outages=tuple(outages),
        slowdowns=tuple(slowdowns),
        kv_cuts=tuple(kv_cuts),
    )
    return config, requests, latencies


Decide = Callable[[DecisionPoint], tuple[int, float]]


@dataclass
class Run:
    """A simulator with its observer at a decision point, and all that a router has seen of it so far."""

    simulator: ServingSimulator
    observer: RouterObserver
    point: DecisionPoint | None
    seen: list[tuple] = field(default_factory=list)

    @classmethod
    def start(cls, simulator: ServingSimulator) -> Run:
        observer = RouterObserver(simulator)
        return cls(simulator, observer, simulator.advance())

    def fork(self) -> Run:
        simulator = self.simulator.fork()
        return Run(simulator, self.observer.fork(simulator), self.point, list(self.seen))

    def go(self, decide: Decide, until: int | None = None, rest_s: float | None = None) -> Run:
        """Go on to decision ``until``, or to the end; with ``rest_s`` stop that often on the way."""
        simulator = self.simulator
        while self.point is not None and (until is None or self.point.number < until):
            point = self.point
            observation = self.observer(point).tobytes()
            mask = point.action_mask.tolist()
            self.seen.append((point.request, point.now_s, observation, mask, point.outcomes, simulator.charged_s()))
            simulator.apply(*decide(point))
            if rest_s is None:
                self.point = simulator.advance()
                continue
            self.point = None
            while self.point is None and not simulator.done:
                stop_s = simulator.now_s + rest_s
                self.point = simulator.advance_until(stop_s)
                assert simulator.now_s <= stop_s
                assert simulator.done or self.point is not None or simulator.now_s == stop_s
        return self


def nth_up(shift: int, latencies: dict[int, float]) -> Decide:
    """The next replica that is up, by the number of the decision, ``shift`` further on."""

    def decide(point: DecisionPoint) -> tuple[int, float]:
        up = np.flatnonzero(point.action_mask)
        return int(up[(point.number + shift) % len(up)]), latencies.get(point.number, 0.0)

    return decide
