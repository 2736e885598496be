"""The checks of cluster scheduling, each by itself, on contexts made by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from guard_stand import LAYOUT as ROUTING_LAYOUT
from guard_stand import Fixed
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_cluster import LAYOUT, WAIT, job, queue, random_queue

from handrail.envs.cluster.config import ClusterConfig
from handrail.policies.guards import (
    CheckContext,
    GuardConfig,
    GuardedPolicy,
    IdlingConfig,
    OverdueRule,
    ReservationConfig,
    StarvationConfig,
    build_guard,
)
from handrail.policies.guards.checks import Check, IdlingCheck, ReservationCheck, StarvationCheck
from handrail.policies.interface import Feedback
from handrail.traces.errors import HandrailError


def judged(check: Check, observation: np.ndarray, action: int, *, fallback: int = WAIT, now_s: float = 0.0):
    context = CheckContext(observation, LAYOUT, now_s, 0, None, fallback, proposal=action, action=action, malformed="")
    verdict = check.judge(context)
    assert verdict.check == check.name
    return verdict


# Starvation.

STARVATION = StarvationCheck(StarvationConfig(overdue_passes=5), LAYOUT)


@pytest.mark.parametrize(
    ("jobs", "action", "reason"),
    [
        ([job(), job()], 1, "ok"),
        ([job(overdue=1), job(overdue=1, overdue_passed=1)], 0, "ok"),
        ([job(overdue=1), job(overdue=1, overdue_passed=1)], 1, "overdue-out-of-turn"),
        ([job(overdue=1, fits=0), job(overdue=1, overdue_passed=1)], 1, "overdue-out-of-turn"),
        ([job(overdue=1), job(overdue_passed=5)], 1, "ok"),
        ([job(overdue=1), job(overdue_passed=6)], 1, "overdue-passes-used-up"),
        ([job(overdue=1, fits=0), job(overdue_passed=6)], 1, "overdue-passes-used-up"),
        ([job(overdue=1), job()], WAIT, "overdue-kept-waiting"),
        ([job(overdue=1, fits=0), job(overdue_passed=1)], WAIT, "ok"),
        ([job()], -1, "out-of-range"),
        ([job()], 5, "out-of-range"),
        ([job(), job(overdue_passed=math.nan)], 1, "overdue-passes-used-up"),
        ([job(), job(overdue=1, overdue_passed=math.nan)], 1, "overdue-out-of-turn"),
    ],
)
def test_starvation(jobs, action, reason):
    verdict = judged(STARVATION, queue(*jobs), action, fallback=3)
    assert verdict.reason == reason
    assert verdict.kind == ("accept" if reason == "ok" else "veto")


def test_starvation_shows_its_numbers_and_lets_the_fallback_pass():
    starving = queue(job(overdue=1, fits=0), job(overdue_passed=9))
    assert judged(STARVATION, starving, 1).evidence == (("overdue_passed", 9.0), ("overdue_passes", 5.0))
    assert judged(STARVATION, starving, 1, fallback=1).kind == "accept"


def test_the_overdue_rule_says_whose_turn_it_is():
    rule = OverdueRule(LAYOUT, 5)
    assert rule.due(queue(job(), job())) == -1
    assert rule.due(queue(job(overdue=1), job(overdue=1, overdue_passed=1))) == 0
    assert rule.due(queue(job(overdue=1, fits=0), job(overdue=1, overdue_passed=1))) == -1
    # An overdue job that may not start (its tenant is at its quota) holds up nobody: the next one's turn has come.
    assert rule.due(queue(job(overdue=1, up=0), job(overdue=1))) == 1


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 4))
def test_what_starvation_accepts_the_rule_permits(seed, action):
    observation = random_queue(LAYOUT, np.random.default_rng(seed))
    verdict = judged(STARVATION, observation, action, fallback=-7)
    permitted = bool(OverdueRule(LAYOUT, 5).permitted(observation)[action])
    kept_waiting = action == WAIT and OverdueRule(LAYOUT, 5).due(observation) >= 0
    assert (verdict.kind == "accept") == (permitted and not kept_waiting)


# Reservation.

RESERVATION = ReservationCheck(ReservationConfig(margin_s=60.0), LAYOUT)


@pytest.mark.parametrize(
    ("delay_s", "slip_s", "reason"),
    [
        (0, 0, "ok"),
        (0, 1e6, "ok"),
        (60, 0, "ok"),
        (61, 0, "reservation-over-margin"),
        (30, 30, "ok"),
        (30, 31, "reservation-over-margin"),
        (math.nan, 0, "cost-not-finite"),
        (1, math.nan, "cost-not-finite"),
        (math.inf, 0, "cost-not-finite"),
    ],
)
def test_reservation(delay_s, slip_s, reason):
    seen = queue(job(fits=0), job(head_delay_s=delay_s), head_slip_s=slip_s)
    assert judged(RESERVATION, seen, 1).reason == reason
    assert judged(RESERVATION, seen, 1, fallback=1).reason == "ok"


def test_reservation_leaves_waiting_to_others_and_shows_its_evidence():
    assert judged(RESERVATION, queue(job(), job()), WAIT, fallback=0).reason == "ok"
    assert judged(RESERVATION, queue(), 9, fallback=1).reason == "out-of-range"
    evidence = judged(RESERVATION, queue(job(fits=0), job(head_delay_s=50), head_slip_s=20), 1).evidence
    assert evidence == (("head_delay_s", 50.0), ("head_slip_s", 20.0), ("margin_s", 60.0))


# Idling.


class Idler:
    """Drives an idling check: the policy waits, the fallback would start slot 0."""

    def __init__(self, **config: Any) -> None:
        self.check = IdlingCheck(IdlingConfig(**config), LAYOUT)

    def at(self, now_s: float, action: int = WAIT, fallback: int = 0, running: int = 3, free_share: float = 0.5) -> str:
        seen = queue(job(), running_jobs=running, free_share=free_share)
        context = CheckContext(seen, LAYOUT, now_s, 0, None, fallback, action=action)
        verdict = self.check.judge(context)
        self.check.note_executed(context, action if verdict.kind == "accept" else fallback)
        return verdict.reason


def test_idling_allows_so_many_waits_between_two_starts():
    idler = Idler(max_waits=2, max_idle_s=1e6)
    assert [idler.at(t) for t in range(4)] == ["ok", "ok", "idle-waits-used-up", "ok"]
    assert [idler.at(4, action=0), idler.at(5), idler.at(6), idler.at(7)] == ["ok", "ok", "ok", "idle-waits-used-up"]


def test_holding_back_a_small_share_of_the_cluster_is_not_idle():
    idler = Idler(max_waits=1, max_idle_s=10.0, small_share=0.05)
    assert {idler.at(t, free_share=0.04) for t in range(100)} == {"ok"}
    assert [idler.at(100), idler.at(101, free_share=0.04), idler.at(102)] == ["ok", "ok", "idle-waits-used-up"]
    assert idler.at(103, free_share=0.04, running=0) == "idle-cluster"


def test_waiting_is_not_idle_where_the_fallback_waits_too():
    idler = Idler(max_waits=1, max_idle_s=10.0)
    assert {idler.at(t, fallback=WAIT) for t in range(100)} == {"ok"}
    assert [idler.at(100), idler.at(101, fallback=WAIT), idler.at(102)] == ["ok", "ok", "idle-waits-used-up"]


def test_idle_time_is_charged_and_comes_back_slowly():
    idler = Idler(max_waits=100, max_idle_s=100.0, idle_share=0.1)
    assert idler.at(0) == "ok"
    assert idler.at(99) == "ok"
    assert idler.at(101) == "idle-time-used-up"  # 101 s were idle; the fallback's start ends it
    assert idler.at(110) == "idle-time-used-up"  # 0.9 s have come back
    assert idler.at(112, action=1) == "ok"
    assert idler.at(113) == "ok"


def test_nobody_waits_in_an_empty_cluster_if_the_fallback_would_start_something():
    idler = Idler()
    assert idler.at(0, running=0) == "idle-cluster"
    assert idler.at(1, running=0, fallback=WAIT) == "ok"


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 500), st.integers(0, 2), st.booleans()), min_size=1, max_size=80),
    st.integers(0, 4),
    st.floats(0, 300),
    st.floats(0, 1),
)
def test_idling_keeps_what_it_promises(steps, max_waits, max_idle_s, idle_share):
    idler = Idler(max_waits=max_waits, max_idle_s=max_idle_s, idle_share=idle_share)
    now_s, in_a_row, idle_s, longest_s, idle = 0.0, 0, 0.0, 0.0, False
    for gap_s, choice, fallback_starts in steps:
        now_s += gap_s
        idle_s += gap_s if idle else 0.0
        longest_s = max(longest_s, gap_s)
        action, fallback = (WAIT if choice else 0), (0 if fallback_starts else WAIT)
        accepted = idler.at(now_s, action, fallback) == "ok"
        executed = action if accepted else fallback
        idle = executed == WAIT and fallback_starts
        in_a_row = in_a_row + idle if executed == WAIT else 0
        assert in_a_row <= max_waits
        assert idle_s <= max_idle_s + idle_share * now_s + longest_s + 1e-6


def test_idling_sees_what_is_executed_and_not_what_is_proposed():
    config = GuardConfig.for_scheduling().only("contract", "idling")
    guarded = GuardedPolicy(Fixed(math.nan), Fixed(0), build_guard(config, LAYOUT), LAYOUT)
    idling = next(check for check in guarded.guard.proposal_checks if check.name == "idling")
    assert isinstance(idling, IdlingCheck)
    idling._waits = 5
    guarded.notify(Feedback(1.0, 0))
    assert guarded.predict(queue(job()))[0] == 0
    assert idling._waits == 0


# The default guard.


def test_the_default_guard_of_scheduling():
    guard = build_guard(GuardConfig.for_scheduling(), LAYOUT)
    names = [check.name for check in guard.proposal_checks]
    assert names == ["contract", "idling", "starvation", "reservation", "cost-margin:displaced_slowdown"]
    assert [check.name for check in guard.outcome_checks] == ["breaker"]
    assert guard.latency_budget_s == 1.0
    config = GuardConfig.for_scheduling(overdue_passes=3, reservation_margin_s=9.0, loads=(0.5,), shares=(0.2,))
    assert GuardConfig.from_json(config.to_json()) == config
    assert StarvationConfig().overdue_passes == ClusterConfig(processors=1).overdue_passes
    assert GuardConfig.for_scheduling().only("starvation").checks == (StarvationConfig(),)


@pytest.mark.parametrize("check", ["idling", "starvation", "reservation", "cost-margin", "breaker"])
def test_the_checks_of_scheduling_refuse_another_domains_observation(check):
    with pytest.raises(HandrailError, match=r"has no (per-replica|global) field"):
        build_guard(GuardConfig.for_scheduling().only(check), ROUTING_LAYOUT)


def test_a_cost_of_displaced_jobs_is_held_to_its_margin():
    config = GuardConfig.for_scheduling(slowdown_margin=1.0).only("contract", "cost-margin")
    guarded = GuardedPolicy(Fixed(1), Fixed(0), build_guard(config, LAYOUT), LAYOUT)
    for i, cost in enumerate((0.5, 1.5)):
        guarded.notify(Feedback(float(i), i))
        assert guarded.predict(queue(job(), job(displaced_slowdown=cost)))[0] == (1 if cost < 1 else 0)
    assert guarded.interventions == {"displaced-slowdown-over-margin": 1}
