"""Shadow statistics against a buffer that is searched, and that they look back only."""

from __future__ import annotations

import math

import numpy as np
import pytest
from prefetch_samples import accesses, one_tenant, three_tenants

from handrail.envs.prefetch.arms import Arm
from handrail.envs.prefetch.config import PREFETCHERS
from handrail.envs.prefetch.prefetchers import make_prefetcher
from handrail.envs.prefetch.shadow import COVERED, HELD, ISSUED, LEAD, LEAD_UNIT, ShadowStatistics, has_shadow

MENU = tuple(Arm.parse(text) for text in ("none", "obl:1", "next-line:1", "next-line:8", "stride:4", "oracle:2"))


def searched(keys: list[int], arm: Arm, backing: str) -> list[tuple[int, int, float]]:
    """Issued, covered and lead at each access, from a list of everything that ever entered the buffer."""
    prefetcher = make_prefetcher(arm.prefetcher, arm.degree)
    entered: list[tuple[int, int, bool]] = []  # position, id, whether by a suggestion
    found = []
    for position, key in enumerate(keys):
        latest = next((entry for entry in reversed(entered) if entry[1] == key), None)
        covered = latest is not None and latest[2] and position - latest[0] <= HELD
        lead = math.log2(position - latest[0]) if covered else 0.0
        entered.append((position, key, False))
        issued = 0
        for other in prefetcher.access(key, False)[: arm.degree]:
            held = any(entry[1] == other and position - entry[0] < HELD for entry in entered)
            known = backing == "all" or other in keys[: position + 1]
            if known and not held:
                entered.append((position, other, True))
                issued += 1
        found.append((issued, int(covered), lead))
    return found


@pytest.mark.parametrize("backing", ["all", "seen"])
def test_totals_are_those_of_a_buffer_that_is_searched(backing):
    keys = np.concatenate((one_tenant(1200).key, np.arange(600), np.arange(600)))
    trace = accesses(keys)
    shadow = ShadowStatistics(trace, MENU, backing)
    used = 0
    for place, arm in enumerate(MENU):
        totals = shadow.totals[:, :, place]
        if not has_shadow(arm):
            assert not totals.any()
            continue
        wanted = np.array(searched(keys.tolist(), arm, backing))
        steps = np.diff(totals, axis=0)
        assert np.array_equal(steps[:, [ISSUED, COVERED]], wanted[:, :2])
        assert steps[:, LEAD] / LEAD_UNIT == pytest.approx(wanted[:, 2], abs=0.5 / LEAD_UNIT)
        used += steps[:, COVERED].sum()
    assert used > 500


def test_coverage_is_never_more_than_what_was_issued():
    shadow = ShadowStatistics(three_tenants(), MENU, "all")
    assert (shadow.totals[:, COVERED] <= shadow.totals[:, ISSUED]).all()
    assert shadow.totals[:, COVERED].any()


def test_a_scan_is_foreseen_and_a_loop_that_the_buffer_holds_is_not_fetched():
    next_line = (Arm("next-line", 1), Arm("next-line", 8))
    scan = ShadowStatistics(accesses(np.arange(1000)), next_line, "all").totals
    assert scan[-1, ISSUED].tolist() == [1000, 1007]
    assert scan[-1, COVERED].tolist() == [999, 999]
    assert scan[-1, LEAD].tolist() == [0, sum(round(math.log2(min(i, 8)) * LEAD_UNIT) for i in range(1, 1000))]
    loop = ShadowStatistics(accesses(np.tile(np.arange(300), 5)), next_line, "all").totals
    assert loop[-1, COVERED].tolist() == [299, 299]
    # Only the ids behind the loop's end, which nobody accesses, are fetched again and again.
    assert loop[-1, ISSUED].tolist() == [299 + 3, 299 + 3 * 8]


def test_what_was_never_accessed_is_not_issued_where_only_seen_ids_exist():
    keys = np.tile(np.arange(700), 2)
    totals = ShadowStatistics(accesses(keys, backing="seen"), (Arm("next-line", 1),), "seen").totals
    assert not totals[:701].any()
    assert totals[-1, COVERED, 0] == 699


def test_arms_that_react_to_the_cache_or_know_the_future_have_no_shadow():
    without = {name for name in PREFETCHERS if not has_shadow(Arm(name, 1))}
    assert without == {"none", "best-offset", "amp", "oracle"}


def test_arms_of_a_family_are_their_own_first_suggestions():
    trace = one_tenant(2000)
    together = ShadowStatistics(trace, MENU, "all").totals
    alone = ShadowStatistics(trace, (Arm("next-line", 1),), "all").totals
    assert np.array_equal(together[:, :, 2], alone[:, :, 0])


@pytest.mark.parametrize("until", [1, 600, 1500])
def test_what_comes_later_changes_nothing(until):
    keys = one_tenant(2000).key
    other = np.concatenate((keys[:until], one_tenant(2000, seed=5).key))
    first, second = (ShadowStatistics(accesses(each), MENU, "all").totals for each in (keys, other))
    assert np.array_equal(first[: until + 1], second[: until + 1])


def test_tenants_stand_apart():
    trace = three_tenants(3000)
    shadow = ShadowStatistics(trace, MENU, "all")
    for code in range(3):
        rows = trace.rows_of_tenant(code)
        alone = ShadowStatistics(accesses(trace.key[rows]), MENU, "all").totals
        first = shadow.first[code]
        assert np.array_equal(shadow.totals[first : first + len(rows) + 1], alone)


def test_a_trace_is_worked_out_once_for_a_menu():
    trace = one_tenant(500)
    built = ShadowStatistics.build(trace, MENU, "all")
    assert ShadowStatistics.build(one_tenant(500), MENU, "all") is built
    assert ShadowStatistics.build(trace, MENU, "seen") is not built
    assert ShadowStatistics.build(trace, MENU[:3], "all").totals.shape[2] == 3
