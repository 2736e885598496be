"""Each broken scheduler is broken in the way that its name says, and only in that."""

from __future__ import annotations

import math

import numpy as np
import pytest
from synthetic_cluster import LAYOUT, PROCESSORS, WAIT, job, queue, random_queue

from handrail.policies import SABOTAGES, make_heuristic, make_policy, make_sabotage
from handrail.traces.errors import HandrailError

OBSERVATIONS = [random_queue(LAYOUT, np.random.default_rng(i)) for i in range(60)]


def make(kind: str, **kwargs: object):
    return make_sabotage(kind, LAYOUT, domain="cluster", **kwargs)


def test_every_domain_has_the_same_kinds():
    assert [make(kind).name for kind in SABOTAGES] == [f"sabotage:{kind}" for kind in SABOTAGES]
    assert type(make("worst")) is not type(make_sabotage("constant", LAYOUT))
    assert make_policy("sabotage:slow", LAYOUT, domain="cluster", overdue_passes=3)._overdue.overdue_passes == 3
    with pytest.raises(HandrailError, match=r"'sabotage:evil'.*sabotage:worst"):
        make("sabotage:evil")


def test_worst_is_the_largest_area_that_is_legal():
    small, large = job(size_share=1 / PROCESSORS, estimate_s=900), job(size_share=0.5, estimate_s=100)
    assert make("worst").predict(queue(small, large, job(size_share=1.0, estimate_s=1e4, fits=0)))[0] == 1
    # It heeds neither the reservation nor an overdue job.
    assert (
        make("worst").predict(queue(small | {"overdue": 1}, large | {"overdue_passed": 99, "head_delay_s": 9}))[0] == 1
    )
    assert make("worst").predict(queue(job(fits=0)))[0] == WAIT
    # Where no run time is known the size counts.
    unknown = [job(size_share=share, estimate_s=0) for share in (0.1, 0.3, 0.2)]
    assert make("worst").predict(queue(*unknown))[0] == 1


def test_random_stays_legal_uses_its_seed_and_waits_too():
    policy = make("random", seed=1)
    busy = [o for o in OBSERVATIONS if LAYOUT.replica(o, "up").any()]
    actions = [policy.predict(o)[0] for o in busy]
    assert all(LAYOUT.replica(o, "up")[a] == 1 for o, a in zip(busy, actions, strict=True))
    assert WAIT in actions
    assert len(set(actions)) >= 4


def test_constant_is_slot_0_even_when_that_is_illegal():
    assert {make("constant").predict(o)[0] for o in OBSERVATIONS} == {0}


def test_nan_is_not_a_number():
    assert math.isnan(make("nan").predict(OBSERVATIONS[0])[0])


def test_slow_chooses_well_and_declares_thirty_seconds():
    slow, fallback = make("slow"), make_heuristic("sjf", LAYOUT, domain="cluster")
    assert slow.latency_s == 30.0
    assert [slow.predict(o)[0] for o in OBSERVATIONS] == [fallback.predict(o)[0] for o in OBSERVATIONS]


def test_raise_works_for_100_decisions_and_never_again():
    policy = make("raise")
    for _ in range(100):
        assert policy.predict(queue(job(estimate_s=2), job(estimate_s=1)))[0] == 1
    for _ in range(3):
        with pytest.raises(RuntimeError, match="sabotage"):
            policy.predict(OBSERVATIONS[0])


def test_only_the_slow_one_declares_a_latency():
    assert {make(kind).latency_s for kind in SABOTAGES if kind != "slow"} == {0.0}
