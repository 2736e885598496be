"""The simulator against the naive one, bit for bit, ties and simultaneous events included."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from cache_workloads import (
    TALKER,
    Pick,
    Talker,
    config_of,
    draw_accesses,
    draw_answers,
    draw_setup,
    drive,
    fresh,
    scripted,
    seeded,
    trace_of,
)
from hypothesis import event, given, settings
from hypothesis import strategies as st
from naive_cache import FATES, Access, Naive, Setup

from handrail.envs.prefetch import PrefetchResults, PrefetchSimulator
from handrail.envs.prefetch.results import OUTCOMES
from handrail.envs.prefetch.simulator import DecisionPoint

DEMANDS = ("open", "paced", "closed", "timeless")


@st.composite
def picks(draw) -> Pick:
    """Hypothesis as a source of whole numbers."""
    return lambda low, high: draw(st.integers(low, high))


def run_both(
    setup: Setup,
    accesses: list[Access],
    answers: list[tuple[int, float]],
    *,
    talker: bool = False,
    warm: int = 0,
) -> tuple[PrefetchResults, Naive]:
    """Both simulators on the same accesses; they agree in every bit."""
    trace, config = trace_of(accesses), config_of(setup)
    rows = (warm, len(accesses)) if warm else None
    with scripted(accesses, talker=talker):
        simulator = PrefetchSimulator(config, trace, decide="policy", rows=rows, warm=warm)
        points = drive(simulator, answers, simulator.engine.check_invariants)
    results = simulator.results()
    start_s = accesses[warm].arrival_s if warm else 0.0
    replayed = [replace(access, arrival_s=access.arrival_s - start_s) for access in accesses[warm:]]
    before = tuple((access.key, access.size) for access in accesses[:warm])
    naive = Naive(setup, replayed, answers, (TALKER,) if talker else (), before).run()
    hold_columns(results, naive, warm)
    hold_accounts(results, naive)
    hold_decisions(points, naive, warm)
    if talker:
        assert Talker.told == naive.told
    assert simulator.engine.cache.used == sum(entry.size if setup.by_bytes else 1 for entry in naive.cache)
    return results, naive


def hold_columns(results: PrefetchResults, naive: Naive, first: int) -> None:
    served = [naive.accesses[row] for row in naive.issued]
    hit_s = naive.setup.hit_s
    access_s = [hit_s if a.outcome in (0, 4) else a.finish_s - a.issued_s for a in served]
    for column, expected in {
        "row": [row + first for row in naive.issued],
        "outcome": [access.outcome for access in served],
        "arrival_s": [access.issued_s for access in served],
        "finish_s": [access.finish_s for access in served],
        "access_s": access_s,
    }.items():
        np.testing.assert_array_equal(getattr(results, column), expected, err_msg=column)


def hold_accounts(results: PrefetchResults, naive: Naive) -> None:
    tier = naive.tier
    assert tuple(results.prefetches) == naive.fates()
    for tenant in naive.tenants:
        assert tuple(results.prefetches_by_tenant[tenant]) == naive.fates(tenant)
    for place, issued in enumerate(results.issued_by_arm.values()):
        assert issued == sum(prefetch.arm == place for prefetch in naive.prefetches)
    assert results.fetches == tuple(tier.count)
    assert results.fetch_bytes == tuple(tier.bytes)
    assert results.work_s == tuple(tier.work_s)
    assert results.waited_s == pytest.approx(tier.waited_s, rel=1e-12, abs=1e-12)
    assert results.near_bytes == (None if naive.near is None else tuple(naive.near.bytes))
    assert results.polluted == naive.polluted
    assert results.end_s == naive.now_s


def hold_decisions(points: list[DecisionPoint], naive: Naive, first: int) -> None:
    assert [(point.now_s, point.item - first, point.tenant) for point in points] == naive.points
    told = [outcome for point in points for outcome in point.outcomes]
    assert len(told) <= len(naive.outcomes)
    for outcome, (decision, item, rows) in zip(told, naive.outcomes, strict=False):
        served = [naive.accesses[row] for row in rows]
        hit_s = naive.setup.hit_s
        waits = [a.finish_s - a.issued_s if a.outcome in (1, 2, 3) and not a.write else hit_s for a in served]
        assert (outcome.decision, outcome.item - first, outcome.accesses) == (decision, item, len(rows))
        assert outcome.worst_s == max(waits)
        assert outcome.access_s == pytest.approx(sum(waits) / len(waits), rel=1e-12)


@pytest.mark.parametrize("demand", DEMANDS)
@settings(max_examples=60, deadline=None)
@given(pick=picks())
def test_one_tier(demand, pick):
    setup = draw_setup(pick, demand)
    event(f"{setup.tier.discipline}, {'bytes' if setup.by_bytes else 'objects'}")
    run_both(setup, draw_accesses(pick, 9), draw_answers(pick, setup))


@pytest.mark.parametrize("demand", DEMANDS)
@settings(max_examples=50, deadline=None)
@given(pick=picks())
def test_a_middle_tier(demand, pick):
    setup = draw_setup(pick, demand, middle=True)
    run_both(setup, draw_accesses(pick, 9), draw_answers(pick, setup))


@settings(max_examples=50, deadline=None)
@given(pick=picks())
def test_a_prefetcher_that_runs_along_is_told_what_happens(pick):
    setup = draw_setup(pick, DEMANDS[pick(0, 3)], middle=pick(0, 3) == 0, talker=True)
    run_both(setup, draw_accesses(pick, 9, talker=True), draw_answers(pick, setup), talker=True)


def draw_long(pick: Pick, demand: str, *, middle: bool, most: int = 120) -> tuple[Setup, list[Access], list]:
    setup = replace(draw_setup(pick, demand, middle=middle), capacity=pick(2, 12))
    return setup, draw_accesses(pick, most, keys=pick(6, 30)), draw_answers(pick, setup, 40)


@pytest.mark.parametrize("demand", DEMANDS)
@pytest.mark.parametrize("middle", [False, True], ids=["one tier", "middle tier"])
def test_longer_runs_meet_everything_often(demand, middle):
    met: Counter[str] = Counter()
    for seed in range(30):
        pick = seeded(1000 * DEMANDS.index(demand) + seed)
        setup, accesses, answers = draw_long(pick, demand, middle=middle)
        warm = pick(0, 8) if pick(0, 2) == 0 and len(accesses) > 10 else 0
        results, naive = run_both(setup, fresh(accesses), answers, warm=warm)
        counts = dict(zip(("issued", *FATES), naive.fates(), strict=True))
        met.update(name for name, n in counts.items() if n)
        met.update(OUTCOMES[code] for code in np.unique(results.outcome))
        met["written back"] += bool(naive.written_back)
        met["polluted"] += naive.polluted > 0
        met["waited"] += sum(results.waited_s) > 0
        met[setup.tier.discipline] += 1
    wanted = {"issued", "useful", "useless", "resident", "hit", "miss", "first_use", "written back", "polluted"}
    wanted |= {"fifo", "demand-first", "bounded"}
    if demand != "timeless":
        wanted |= {"late", "dropped", "merged", "waited"}
    assert min(met[what] for what in wanted) >= 4, met


def test_a_standing_prefetcher_rules_without_a_policy():
    for seed in range(30):
        pick = seeded(7000 + seed)
        setup = draw_setup(pick, DEMANDS[seed % 4])
        accesses = draw_accesses(pick, 60)
        config = config_of(setup).model_copy(update={"prefetcher": "next-line", "degree": 3})
        with scripted(accesses):
            simulator = PrefetchSimulator(config, trace_of(accesses))
            assert simulator.advance() is None
        rules = replace(setup, arms=(("next-line", 3),), per_tenant=False, every_accesses=10**9, every_s=None)
        naive = Naive(rules, accesses, [(0, 0.0)]).run()
        hold_columns(simulator.results(), naive, 0)
        hold_accounts(simulator.results(), naive)
