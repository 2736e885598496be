"""Two traces that are equal up to a moment give the same decision points, and the same accounts, up to it."""

from __future__ import annotations

import numpy as np
import pytest
from prefetch_samples import three_tenants

from handrail.envs.prefetch import CacheConfig, PrefetchSimulator, TierConfig
from handrail.traces import AccessTrace

TIER = TierConfig(latency_s=4e-3, service_s=3e-4)
CUT = 900
EVERY = {"rows": {"every_accesses": 16}, "seconds": {"every_accesses": None, "every_s": 7e-3}}


def altered(trace: AccessTrace, *, times: bool) -> AccessTrace:
    """Another future: other ids, sizes, tenants and writes from row ``CUT`` on, and other times too."""
    rng = np.random.default_rng(77)
    n = len(trace) - CUT
    columns = {}
    for column, tail in {
        "key": rng.integers(0, 900, n),
        "size_bytes": rng.integers(1, 9000, n),
        "tenant": rng.integers(0, 3, n),
    }.items():
        columns[column] = np.concatenate([getattr(trace, column)[:CUT], tail])
    columns["is_write"] = np.concatenate([trace.is_write[:CUT], rng.random(n) < 0.5])
    if times:
        tail_s = trace.arrival_s[CUT - 1] + np.cumsum(rng.exponential(5e-3, n))
        columns["arrival_s"] = np.concatenate([trace.arrival_s[:CUT], tail_s])
    return trace.replace(**columns)


def points(trace: AccessTrace, config: CacheConfig) -> list[tuple[object, ...]]:
    """What is known at each decision, while arms change."""
    simulator = PrefetchSimulator(config, trace, decide="policy")
    found = []
    while (point := simulator.advance()) is not None:
        now_s = point.now_s
        found.append(
            (
                now_s,
                point.item,
                point.tenant,
                point.decision,
                point.outcomes,
                simulator.prefetches(),
                simulator.cost_s(now_s),
                simulator.misses,
                simulator.ghost_misses,
                simulator.outstanding,
                simulator.standing_arm(point.tenant),
                tuple(simulator.position(tenant) for tenant in range(3)),
                simulator.tier.work_s(now_s),
                simulator.tier.backlog_s(now_s),
            )
        )
        simulator.apply(point.decision * 7 % len(simulator.arms), 1e-3 * (point.decision % 3))
    return found


@pytest.mark.parametrize("demand", ["open", "paced", "closed", "timeless"])
@pytest.mark.parametrize(
    "every", [{"every_accesses": 16}, {"every_accesses": None, "every_s": 7e-3}], ids=["rows", "s"]
)
def test_equal_pasts_give_equal_decision_points(demand, every):
    if demand == "timeless" and every["every_accesses"] is None:
        every = {"every_accesses": 1}
    config = CacheConfig(
        objects=150, tier=TIER, demand=demand, window=2, per_tenant=True, ghost=True, controller="hysteresis",
        menu=("none", "obl:1", "stride:4", "markov:2", "leap:4", "readahead:8", "amp:4"), **every,
    )  # fmt: skip
    rng = np.random.default_rng(3)
    trace = three_tenants(1_500, is_write=rng.random(1_500) < 0.2)
    one = points(trace, config)
    other = points(altered(trace, times=demand in ("open", "timeless")), config)
    if demand in ("open", "timeless"):
        # The times of both differ from row CUT on. A decision before that row may be made at its time.
        known = [sum(p[1] < CUT for p in found) for found in (one, other)]
        until_s = min(trace.arrival_s[CUT], altered(trace, times=True).arrival_s[CUT])
        if demand == "open":
            known = [sum(p[0] < until_s for p in found) for found in (one, other)]
    else:
        # A tenant that is behind takes its own row CUT or later when its own turn comes: count rows of each.
        limit = [int(np.count_nonzero(trace.tenant[:CUT] == tenant)) for tenant in range(3)]
        reached = [[any(p[11][t] >= limit[t] for t in range(3)) for p in found] for found in (one, other)]
        known = [flags.index(True) for flags in reached]
    assert known[0] == known[1]
    assert known[0] > 40
    assert one[: known[0]] == other[: known[0]]
    assert one != other


def test_a_size_that_is_not_asked_for_yet_changes_nothing():
    """What is under way or in the cache by prefetch has a size that its next access would tell; nobody knows it."""
    trace = three_tenants(1_200)
    sizes = trace.size_bytes.copy()
    sizes[CUT:] *= 3
    config = CacheConfig(
        size_bytes=400_000, tier=TIER, prefetcher="none", menu=("none", "next-line:8"), every_accesses=10
    )
    one = points(trace, config)
    other = points(trace.replace(size_bytes=sizes), config)
    known = sum(p[1] <= CUT for p in one)
    assert known > 60
    assert one[:known] == other[:known]
    assert one != other
