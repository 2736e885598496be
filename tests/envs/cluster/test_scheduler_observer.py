"""Each field of the scheduler's observation against a computation that looks at all jobs, on random states."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from scheduling_samples import gpu_jobs, processor_jobs

from handrail.envs.cluster import (
    GLOBAL_FIELDS,
    SLOT_FIELDS,
    ClusterConfig,
    ClusterSimulator,
    Faults,
    MachineGroup,
    MachineOutage,
    SchedulerObserver,
)
from handrail.traces import JobTrace

PROCESSORS = 40


@dataclass
class Seen:
    """A decision point with its observation, and what an onlooker knows: the starts so far."""

    now_s: float
    slots: dict[str, np.ndarray]
    summary: dict[str, float]
    rows: list[int]
    starts: dict[int, float]
    window: int


def decisions(trace: JobTrace, config: ClusterConfig, seed: int = 0):
    """Every decision point of a replay with random choices; estimates are what the trace says."""
    rng = np.random.default_rng(seed)
    simulator = ClusterSimulator(config, trace, decide="job")
    observer = SchedulerObserver(simulator)
    layout = observer.layout
    starts: dict[int, float] = {}
    point = simulator.advance()
    while point is not None:
        seen = observer(point)
        assert seen.dtype == np.float32
        assert ((layout.low <= seen) & (seen <= layout.high)).all()
        slots = {field.name: layout.replica(seen, field.name).astype(float) for field in SLOT_FIELDS}
        assert np.array_equal(slots["up"] > 0, point.action_mask)
        rows = simulator.window.rows.tolist()
        yield Seen(
            point.now_s,
            slots,
            {field.name: layout.scalar(seen, field.name) for field in GLOBAL_FIELDS},
            rows,
            starts,
            config.window,
        )
        action = int(rng.choice(np.flatnonzero(point.action_mask)))
        if action < len(rows):
            starts[rows[action]] = point.now_s
        simulator.apply(action)
        point = simulator.advance()


class Onlooker:
    """Works everything out from the trace and the starts."""

    def __init__(self, trace: JobTrace, size: float, limit_s: float | None) -> None:
        self.trace = trace
        self.size = size
        self.limit_s = math.inf if limit_s is None else limit_s

    def waiting(self, seen: Seen) -> list[int]:
        """Rows in the standing order of sjf."""
        t = self.trace
        rows = [row for row in range(len(t)) if t.arrival_s[row] <= seen.now_s and row not in seen.starts]
        return sorted(rows, key=lambda row: (0, row) if self.late(row, seen) else (1, t.estimate_s[row], row))

    def shown(self, seen: Seen) -> list[int]:
        """Of a queue longer than the window: the head, the first that fit, then the first of the others."""
        waiting = self.waiting(seen)
        if len(waiting) <= seen.window:
            return waiting
        free = self.free(seen)
        fitting = [row for row in waiting[1:] if self.trace.size[row] <= free]
        others = [row for row in waiting[1:] if self.trace.size[row] > free]
        chosen = {waiting[0], *(fitting + others)[: seen.window - 1]}
        return [row for row in waiting if row in chosen]

    def late(self, row: int, seen: Seen) -> bool:
        return seen.now_s - self.trace.arrival_s[row] > self.limit_s

    def running(self, seen: Seen) -> list[tuple[float, float]]:
        """(expected end, size) of the running jobs; an estimate that was outrun doubles until it is not."""
        out = []
        for row, start_s in seen.starts.items():
            if start_s + self.trace.run_s[row] <= seen.now_s:
                continue
            expected_s = self.trace.estimate_s[row]
            while start_s + expected_s <= seen.now_s:
                expected_s = max(expected_s, 1.0) * 2
            out.append((start_s + expected_s, self.trace.size[row]))
        return sorted(out)

    def free(self, seen: Seen) -> float:
        return self.size - sum(size for _, size in self.running(seen))

    def start_of(self, need: float, seen: Seen, besides: tuple[float, float] | None = None) -> float:
        """When ``need`` comes free, with a job ``besides`` (end, size) started now."""
        running = self.running(seen) + ([besides] if besides else [])
        free = self.size - sum(size for _, size in running)
        for at_s in sorted([seen.now_s, *(end_s for end_s, _ in running)]):
            if free + sum(size for end_s, size in running if end_s <= at_s) >= need:
                return at_s
        return math.inf


@pytest.fixture(scope="module")
def trace() -> JobTrace:
    return processor_jobs(250)


CONFIG = ClusterConfig(processors=PROCESSORS, discipline="sjf", window=12, wait_limit_s=1500.0)


def test_slots_against_the_trace(trace):
    onlooker = Onlooker(trace, PROCESSORS, CONFIG.wait_limit_s)
    full = late = 0
    for seen in decisions(trace, CONFIG):
        rows = onlooker.shown(seen)
        n = len(rows)
        assert seen.rows == rows
        full += n == 12
        wait_s = seen.now_s - trace.arrival_s[rows]
        estimate_s = trace.estimate_s[rows]
        held = np.zeros(3)
        for row, start_s in seen.starts.items():
            if start_s + trace.run_s[row] > seen.now_s:
                held[trace.tenant[row]] += trace.size[row]
        overdue = [onlooker.late(row, seen) for row in rows]
        late += sum(overdue)
        expected = {
            "is_wait": np.zeros(n),
            "size_share": trace.size[rows] / PROCESSORS,
            "estimate_s": estimate_s,
            "wait_s": wait_s,
            "submit_s": trace.arrival_s[rows] + 500.0,
            "slowdown": np.maximum((wait_s + estimate_s) / np.maximum(estimate_s, 10.0), 1.0),
            "fits": trace.size[rows] <= onlooker.free(seen),
            "overdue": overdue,
            "tenant_share": held[trace.tenant[rows]] / PROCESSORS,
        }
        for name, values in expected.items():
            assert np.allclose(seen.slots[name][:n], values, rtol=1e-6), name
            assert not seen.slots[name][n:-1].any(), name
        assert seen.slots["is_wait"][-1] == 1.0
    assert full > 50
    assert late > 100


def test_the_delay_of_the_head_is_exact_on_processors(trace):
    onlooker = Onlooker(trace, PROCESSORS, CONFIG.wait_limit_s)
    delayed = slipped = 0
    promised: dict[int, float] = {}
    for seen in decisions(trace, CONFIG):
        head = trace.size[seen.rows[0]]
        at_s = onlooker.start_of(head, seen)
        first_s = promised.setdefault(seen.rows[0], at_s)
        slipped += at_s > first_s
        assert seen.summary["head_reservation_s"] == pytest.approx(at_s - seen.now_s, rel=1e-6, abs=1e-6)
        assert seen.summary["head_slip_s"] == pytest.approx(max(at_s - first_s, 0.0), rel=1e-6, abs=1e-6)
        for slot, row in enumerate(seen.rows[1:], start=1):
            if not seen.slots["fits"][slot]:
                continue
            besides = (seen.now_s + trace.estimate_s[row], trace.size[row])
            delay_s = onlooker.start_of(head, seen, besides) - at_s
            delayed += delay_s > 0
            assert seen.slots["head_delay_s"][slot] == pytest.approx(delay_s, rel=1e-5, abs=1e-6)
        assert seen.slots["head_delay_s"][0] == seen.slots["head_delay_s"][-1] == 0.0
    assert delayed > 50
    assert slipped > 5


def test_displaced_slowdown_is_what_the_jobs_before_lose(trace):
    onlooker = Onlooker(trace, PROCESSORS, CONFIG.wait_limit_s)
    displaced = 0
    for seen in decisions(trace, CONFIG):
        free, taken = onlooker.free(seen), 0.0
        startable = []  # (slot, what it and those before it take)
        fitting = [slot for slot in range(len(seen.rows)) if seen.slots["fits"][slot]]
        for slot in fitting:
            taken += trace.size[seen.rows[slot]]
            if taken > free:
                break
            startable.append((slot, taken))
        for slot in fitting:
            row = seen.rows[slot]
            cost = 0.0
            for other, need in startable:
                if other < slot and need + trace.size[row] > free:
                    both_s = onlooker.start_of(need + trace.size[row], seen)
                    until_s = min(both_s, seen.now_s + trace.estimate_s[row])
                    cost += (until_s - seen.now_s) / max(trace.estimate_s[seen.rows[other]], 10.0)
            displaced += cost > 0
            assert seen.slots["displaced_slowdown"][slot] == pytest.approx(min(cost, 1e6), rel=1e-5, abs=1e-6)
    assert displaced > 50


def test_overdue_passed_counts_what_overdue_jobs_have_suffered(trace):
    onlooker = Onlooker(trace, PROCESSORS, CONFIG.wait_limit_s)
    most = 0.0
    for seen in decisions(trace, CONFIG):
        overdue = [row for row in onlooker.waiting(seen) if onlooker.late(row, seen)]
        passes = {
            old: sum(row > old and at_s - trace.arrival_s[old] > 1500.0 for row, at_s in seen.starts.items())
            for old in overdue
        }
        for slot, row in enumerate(seen.rows):
            cost = max((1 + passes[old] for old in overdue if old < row), default=0)
            most = max(most, cost)
            assert seen.slots["overdue_passed"][slot] == cost
    assert most > 5


def test_the_summary_against_the_trace(trace):
    onlooker = Onlooker(trace, PROCESSORS, CONFIG.wait_limit_s)
    area = trace.estimate_s * trace.size / PROCESSORS
    for seen in decisions(trace, CONFIG):
        waiting = onlooker.waiting(seen)
        arrived = trace.arrival_s <= seen.now_s
        weights = np.exp((trace.arrival_s[arrived] - seen.now_s) / 21_600.0) / 21_600.0
        expected = {
            "free_share": onlooker.free(seen) / PROCESSORS,
            "running_jobs": len(onlooker.running(seen)),
            "waiting_jobs": len(waiting),
            "waiting_hours": area[waiting].sum() / 3600.0,
            "load_6h": (area[arrived] * weights).sum(),
            "head_wait_s": seen.now_s - trace.arrival_s[seen.rows[0]],
            "fragmentation": 0.0,
            "down_share": 0.0,
            "cluster_size": PROCESSORS,
        }
        for name, value in expected.items():
            assert seen.summary[name] == pytest.approx(value, rel=1e-5, abs=1e-6), name


def test_on_machines_of_one_gpu_the_delay_is_an_upper_bound_and_all_else_is_the_same(trace):
    as_gpus = trace.replace(gpu_milli=trace.cpu_milli, cpu_milli=np.zeros(len(trace), dtype=np.int64))
    machines = CONFIG.model_copy(update={"processors": None, "groups": (MachineGroup(machines=PROCESSORS, gpus=1),)})
    pairs = zip(decisions(trace, CONFIG), decisions(as_gpus, machines), strict=True)
    above = 0
    for exact, bound in pairs:
        assert exact.rows == bound.rows
        fits = exact.slots["fits"] > 0
        for name in exact.slots:
            if name != "head_delay_s":
                assert np.array_equal(exact.slots[name], bound.slots[name]), name
        assert (bound.slots["head_delay_s"][fits] >= exact.slots["head_delay_s"][fits] * (1 - 1e-6)).all()
        assert np.array_equal(bound.slots["head_delay_s"][fits] > 0, exact.slots["head_delay_s"][fits] > 0)
        above += (bound.slots["head_delay_s"] > exact.slots["head_delay_s"] + 1.0).any()
        assert {**exact.summary, "fragmentation": 0.0} == {**bound.summary, "fragmentation": 0.0}
    assert above > 5


def test_on_slow_machines_a_job_delays_the_head_for_longer():
    trace = gpu_jobs(3).replace(
        arrival_s=np.array([0.0, 1.0, 1.0]),
        run_s=np.array([50.0, 10.0, 60.0]),
        estimate_s=np.array([50.0, 10.0, 60.0]),
        gpu_milli=np.array([1000, 2000, 1000]),
    )
    config = ClusterConfig(groups=(MachineGroup(machines=1, gpus=2, speed=0.5),), window=4)
    simulator = ClusterSimulator(config, trace, decide="job")
    observer = SchedulerObserver(simulator)
    simulator.advance()
    simulator.apply(0)
    seen = observer(simulator.advance())
    assert observer.layout.scalar(seen, "head_reservation_s") == 99.0  # 50 s of work take 100 s there
    assert observer.layout.replica(seen, "head_delay_s")[:2].tolist() == [0.0, 21.0]


def test_jobs_of_a_tenant_at_its_quota_are_not_shown_and_never_the_head():
    trace = gpu_jobs(120, gap_s=30.0)
    config = ClusterConfig(
        groups=(MachineGroup(machines=4, gpus=8),),
        discipline="fcfs",
        knowledge="predicted",
        quotas={"red": 8.0},
        window=120,
    )
    held_back = 0
    for seen in decisions(trace, config):
        red = sum(
            trace.size[row]
            for row, start_s in seen.starts.items()
            if trace.tenant[row] == 2 and start_s + trace.run_s[row] > seen.now_s
        )
        waiting = [r for r in range(120) if trace.arrival_s[r] <= seen.now_s and r not in seen.starts]
        shown = [row for row in waiting if trace.tenant[row] != 2 or red + trace.size[row] <= 8.0]
        held_back += len(waiting) - len(shown)
        assert seen.rows == shown
    assert held_back > 50


def test_down_machines_and_unknown_run_times():
    trace = gpu_jobs(100, gap_s=30.0)
    outage = MachineOutage(machine=0, start_s=600.0, end_s=1800.0)
    config = ClusterConfig(
        groups=(MachineGroup(machines=4, gpus=8),),
        knowledge="none",
        faults=Faults(outages=(outage,)),
    )
    down = 0
    for seen in decisions(trace, config):
        is_down = 600.0 <= seen.now_s < 1800.0
        down += is_down
        assert seen.summary["down_share"] == (0.25 if is_down else 0.0)
        assert not seen.slots["estimate_s"].any()
        assert seen.summary["waiting_hours"] == seen.summary["load_6h"] == 0.0
    assert down > 5


def test_an_oracle_of_jobs_that_never_end_stays_within_the_bounds():
    trace = gpu_jobs(60, gap_s=30.0)
    run_s = trace.run_s.copy()
    run_s[::10] = np.inf
    config = ClusterConfig(groups=(MachineGroup(machines=6, gpus=8),), knowledge="true")
    assert sum(1 for _ in decisions(trace.replace(run_s=run_s), config)) > 50


def _easy_job_by_job(config: ClusterConfig, trace: JobTrace) -> np.ndarray:
    """Starts under: the first job that fits and does not delay the head; where there is none, wait."""
    simulator = ClusterSimulator(config, trace, decide="job")
    observer = SchedulerObserver(simulator)
    layout = observer.layout
    point = simulator.advance()
    while point is not None:
        seen = observer(point)
        ok = (layout.replica(seen, "fits") > 0) & (layout.replica(seen, "head_delay_s") == 0) & point.action_mask
        simulator.apply(int(ok.argmax()) if ok.any() else config.window)
        point = simulator.advance()
    return simulator.results().start_s


@pytest.mark.parametrize("whole", [False, True], ids=["any time", "whole seconds"])
@pytest.mark.parametrize("knowledge", ["user_estimate", "true", "predicted"])
def test_native_easy_equals_the_choice_that_never_delays_the_head(knowledge, whole):
    trace = processor_jobs(400, seed=3, whole=whole)
    config = ClusterConfig(processors=PROCESSORS, discipline="sjf", knowledge=knowledge, window=400)
    native = ClusterSimulator(config.model_copy(update={"backfill": "easy"}), trace)
    native.advance()
    start_s = native.results().start_s
    assert (start_s > trace.arrival_s).sum() > 100
    assert np.array_equal(_easy_job_by_job(config, trace), start_s)


@pytest.mark.parametrize("protocol", ["standard", "rlscheduler"])
def test_looking_changes_nothing(protocol):
    trace = processor_jobs(300, seed=1)
    backfill = "reference" if protocol == "rlscheduler" else "none"
    config = ClusterConfig(processors=PROCESSORS, protocol=protocol, backfill=backfill, window=16)
    starts = []
    for looks in (False, True):
        simulator = ClusterSimulator(config, trace, decide="job")
        observer = SchedulerObserver(simulator)
        point = simulator.advance()
        while point is not None:
            if looks:
                assert np.array_equal(observer(point), observer(point))
            simulator.apply(int(np.argmax(point.action_mask)))
            point = simulator.advance()
        starts.append(simulator.results().start_s)
    assert np.array_equal(*starts)
