"""Nothing is lost and nothing counted twice: prefetches, accesses, bytes, and what was written; at every step."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from cache_workloads import config_of, draw_accesses, draw_answers, draw_setup, drive, scripted, seeded, trace_of

from handrail.envs.prefetch import CacheConfig, MiddleConfig, PrefetchSimulator, TierConfig
from handrail.envs.prefetch.backing import MiddleBacking
from handrail.envs.prefetch.fetch import DEMAND, PREFETCH, WRITE_BACK
from handrail.traces import AccessTrace

DEMANDS = ("open", "paced", "closed", "timeless")


class Auditor:
    """Looks at a simulator after every event and every access, and keeps books of its own about what was written."""

    def __init__(self, simulator: PrefetchSimulator) -> None:
        self.simulator, self.engine = simulator, simulator.engine
        self.steps = 0
        self.dirty: set[int] = set()
        self.written_back: Counter[int] = Counter()
        self.issued_before = 0
        clock = simulator._clock
        step, access, submit = clock.step, self.engine.access, self.engine._backing.submit

        def audited_step() -> None:
            step()
            self.check()

        def audited_access(row: int, now_s: float) -> None:
            if self.engine._writes is not None and self.engine._writes[row]:
                self.dirty.add(self.engine._keys[row])
            access(row, now_s)
            self.check()

        def audited_submit(fetch, now_s: float) -> bool:
            if fetch.kind == WRITE_BACK:
                assert fetch.key in self.dirty, "what was not written since is written back"
                self.dirty.remove(fetch.key)
                self.written_back[fetch.key] += 1
            return submit(fetch, now_s)

        clock.step = audited_step  # type: ignore[method-assign]
        self.engine.access = audited_access  # type: ignore[method-assign]
        self.engine._backing.submit = audited_submit

    def check(self) -> None:
        self.steps += 1
        engine = self.engine
        engine.check_invariants()
        counts = engine.prefetches()
        assert counts.issued == sum(engine.issued_by_arm) >= self.issued_before
        self.issued_before = counts.issued
        assert counts.issued == sum(counts[1:])
        for totals in engine.counters:
            own = totals.prefetches()
            assert own.issued == sum(own[1:])
            assert min(own) >= 0
            assert totals.accesses >= totals.misses + totals.delayed
        assert engine.cache.used <= engine.cache.capacity
        waiting = sum(len(fetch.waiters) for fetch in engine._under_way.values())
        assert self.simulator.outstanding == waiting
        assert self.simulator.prefetches_in_flight == counts.in_flight
        # What was written is in the cache, or went back.
        assert engine._dirty == self.dirty
        assert all(key in engine.cache for key in self.dirty)


@pytest.mark.parametrize("demand", DEMANDS)
def test_every_prefetch_and_every_write_is_accounted_for_at_every_step(demand):
    met: Counter[str] = Counter()
    steps = 0
    for seed in range(25):
        pick = seeded(300 + seed)
        setup = draw_setup(pick, demand, middle=seed % 3 == 0)
        accesses = draw_accesses(pick, 60)
        with scripted(accesses):
            simulator = PrefetchSimulator(config_of(setup), trace_of(accesses), decide="policy")
        auditor = Auditor(simulator)
        drive(simulator, draw_answers(pick, setup))
        results = simulator.results()
        counts = results.prefetches
        assert counts.in_flight == 0
        assert simulator.outstanding == 0
        assert results.fetches[WRITE_BACK] == sum(auditor.written_back.values())
        met.update(name for name, n in counts._asdict().items() if n)
        met["written back"] += bool(auditor.written_back)
        met["written back twice"] += any(n > 1 for n in auditor.written_back.values())
        steps += auditor.steps
    assert steps > 1_500
    wanted = {"issued", "useful", "useless", "resident", "written back"}
    assert min(met[what] for what in wanted | (set() if demand == "timeless" else {"late", "dropped"})) >= 3, met


@pytest.mark.parametrize("demand", DEMANDS)
def test_no_access_is_lost(demand):
    for seed in range(25):
        pick = seeded(900 + seed)
        setup = draw_setup(pick, demand, middle=seed % 2 == 0)
        accesses = draw_accesses(pick, 60)
        with scripted(accesses):
            simulator = PrefetchSimulator(config_of(setup), trace_of(accesses), decide="policy")
            drive(simulator, draw_answers(pick, setup))
        results = simulator.results()
        assert sorted(results.row.tolist()) == list(range(len(accesses)))
        assert np.isfinite(results.finish_s).all()
        assert (results.access_s >= 0).all()
        totals = simulator.counters
        outcomes = Counter(results.outcome.tolist())
        assert sum(t.misses for t in totals) == outcomes[1]
        assert sum(t.delayed for t in totals) == outcomes[2] + outcomes[3]
        assert outcomes[2] == results.prefetches.late
        assert outcomes[4] == results.prefetches.useful
        for code, own in enumerate(totals):
            assert own.accesses == sum(access.tenant == code for access in accesses)
        settled = sum(t.settled_s for t in totals) + sum(t.hits for t in totals) * simulator.config.hit_s
        assert settled == pytest.approx(results.access_s.sum(), rel=1e-9, abs=1e-9)


def sized_trace(n: int, seed: int) -> AccessTrace:
    """Objects that keep their size, some of them written."""
    rng = np.random.default_rng(seed)
    keys = rng.integers(0, 60, n)
    return AccessTrace(np.cumsum(rng.exponential(1.0, n)), keys, 500 + 100 * (keys % 7), is_write=rng.random(n) < 0.2)


@pytest.mark.parametrize("eviction", ["lru", "fifo", "clock", "lfu", "arc", "s3fifo", "sieve", "belady"])
def test_bytes_that_moved_are_bytes_of_what_moved(eviction):
    trace = sized_trace(1_500, 3)
    tier = TierConfig(latency_s=3.0, service_s=0.2, bandwidth_bytes_per_s=2_000.0)
    config = CacheConfig(
        size_bytes=12_000, tier=tier, eviction=eviction, prefetcher="next-line", degree=2, controller="fixed"
    )
    simulator = PrefetchSimulator(config, trace)
    auditor = Auditor(simulator)
    assert simulator.advance() is None
    results = simulator.results()
    sizes = dict(zip(trace.key.tolist(), trace.size_bytes.tolist(), strict=True))
    fetched = (results.outcome == 1) & ~trace.is_write[results.row]
    assert results.fetches[DEMAND] == fetched.sum()
    assert results.fetch_bytes[DEMAND] == results.size_bytes[fetched].sum()
    assert results.fetch_bytes[WRITE_BACK] == sum(sizes[key] * n for key, n in auditor.written_back.items())
    assert results.fetches[WRITE_BACK] > 20
    assert results.fetches[PREFETCH] == results.prefetches.issued  # no queue is bounded, no object too large
    for kind in (DEMAND, PREFETCH, WRITE_BACK):
        work_s = results.fetches[kind] * tier.service_s + results.fetch_bytes[kind] / tier.bandwidth_bytes_per_s
        assert results.work_s[kind] == pytest.approx(work_s, rel=1e-9)
    totals = simulator.counters
    assert sum(t.prefetch_bytes for t in totals) == results.fetch_bytes[PREFETCH]
    assert sum(t.demand_bytes for t in totals) == results.fetch_bytes[DEMAND]


@pytest.mark.parametrize("discipline", ["fifo", "demand-first"])
def test_bytes_between_three_tiers(discipline):
    """What the middle cache holds crosses the near link only, all else both; what is written back crosses both."""
    trace = sized_trace(1_200, 4).replace(size_bytes=np.full(1_200, 800))
    tier = {"latency_s": 3.0, "service_s": 0.2, "bandwidth_bytes_per_s": 2_000.0, "discipline": discipline}
    config = CacheConfig(
        objects=12,
        tier=TierConfig(**tier),
        middle=MiddleConfig(objects=30, tier=TierConfig(**{**tier, "latency_s": 0.5})),
        prefetcher="next-line",
        degree=2,
        controller="fixed",
    )
    simulator = PrefetchSimulator(config, trace)
    assert simulator.advance() is None
    backing = simulator.engine._backing
    assert isinstance(backing, MiddleBacking)
    near, tier_link = backing.near, backing.tier
    assert backing.hits > 50
    assert near.submitted[WRITE_BACK] == tier_link.submitted[WRITE_BACK] > 20
    assert sum(near.submitted[:2]) == sum(tier_link.submitted[:2]) + backing.hits
    assert sum(near.submitted_bytes) == sum(tier_link.submitted_bytes) + 800 * backing.hits
    assert backing.hits + backing.misses == sum(near.submitted[:2])
    assert not near._under_way
    assert not tier_link._under_way
    results = simulator.results()
    assert results.near_bytes == tuple(near.submitted_bytes)
    assert np.isfinite(results.finish_s).all()
    assert sum(results.work_s) <= results.end_s * (1 + 1e-12)
