"""Classes of load, detection and return, hindsight choices, and the bounds that are recomputed."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handrail.experiments.study.cells import _budget_excess
from handrail.experiments.study.classify import backlog_grows, classify
from handrail.experiments.study.events import after_switches, best_of_both, come_back, detect, switches_by_block
from handrail.experiments.study.measure import most_passes


def run(wait_p99: float | None = 0.5, attainment: float = 0.99, backlog=(20,) * 90):
    wait = {"p50": 0.0, "p99": wait_p99}
    return {
        "measured": 1000,
        "slo_attainment": attainment,
        "wait_s": wait,
        "wait_limit_s": 1.0,
        "backlog": list(backlog),
    }


def test_classes_follow_the_reference():
    assert classify([run(0.049)] * 2) == "light"
    assert classify([run(0.049), run(0.051)]) == "loaded"
    assert classify([run(None)]) == "loaded"
    assert classify([run(attainment=0.49)] * 2) == "saturated"
    assert classify([run(attainment=0.0), run(attainment=1.0)]) == "loaded"
    assert classify([run(0.01, backlog=[20] * 60 + list(range(20, 110, 3)))]) == "saturated"


def test_a_backlog_must_grow_beyond_what_was_before():
    assert backlog_grows([10] * 60 + list(range(10, 100, 3)))
    assert not backlog_grows([100] * 30 + [200] * 30 + list(range(10, 100, 3)))
    assert not backlog_grows([1] * 60 + [1] * 15 + [5] * 15)
    assert not backlog_grows([50] * 90)


def guarded(learned, state=None, attained=None):
    n = len(learned)
    return {
        "decision_s": np.arange(n, dtype=float),
        "learned": np.array(learned, dtype=bool),
        "state": np.zeros(n, np.uint8) if state is None else np.array(state, np.uint8),
        "item": np.arange(n, dtype=np.int32),
        "row": np.arange(n, dtype=np.int32),
        "arrival_s": np.arange(n, dtype=float),
        "attained": np.ones(n, bool) if attained is None else np.array(attained, dtype=bool),
    }


def facts(*transitions):
    return {"guard": {"transitions": [list(t) for t in transitions], "openings": 0}}


def test_detection_counts_from_the_onset_to_the_first_refusal():
    ours = guarded([0, 1, 1, 1, 1, 0, 0, 0], attained=[1, 1, 0, 0, 1, 0, 1, 1])
    found = detect(facts((6.0, 6, "closed", "open", "x")), ours, guarded([1] * 8), onset_s=3.0)
    assert (found.intervened_s, found.intervened_decisions, found.opened_s) == (2.0, 2, 3.0)
    assert found.harmed == 2  # rows 3 and 5; row 2 came before the onset


def test_what_is_never_refused_is_never_detected():
    found = detect(facts(), guarded([1] * 5), guarded([1] * 5), onset_s=1.0)
    assert (found.intervened_s, found.opened_s) == (None, None)


def test_return_waits_for_a_closed_supervisor_and_charges_probes():
    ours = guarded([1, 0, 0, 1, 1, 1], state=[0, 1, 1, 2, 2, 0], attained=[1, 1, 1, 0, 1, 0])
    found = come_back(ours, guarded([1] * 6), end_s=1.5)
    assert found.after_s == pytest.approx(3.5)
    assert found.harmed_by_probes == 1


def test_windows_after_switches():
    inside = after_switches(facts((1.0, 1, "closed", "open", "x")), guarded([1] * 6), 2.0)
    assert inside.tolist() == [False, True, True, False, False, False]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 7), st.integers(0, 4), st.integers(0, 10**6))
def test_the_hindsight_choice_is_the_best_of_all(blocks, switches, seed):
    costs = np.random.default_rng(seed).random((2, blocks))
    choice = best_of_both(costs, switches)
    assert np.count_nonzero(np.diff(choice)) <= switches
    ours = costs[choice, np.arange(blocks)].sum()
    every = [
        costs[list(pick), np.arange(blocks)].sum()
        for pick in product((0, 1), repeat=blocks)
        if np.count_nonzero(np.diff(pick)) <= switches
    ]
    assert ours == pytest.approx(min(every))


def test_switches_are_those_of_who_makes_most_of_a_block():
    assert switches_by_block(guarded([1, 1, 0, 0, 0, 1, 1, 1, 1]), 0.0, 9.0, 3) == 2
    assert switches_by_block(guarded([1] * 9), 0.0, 9.0, 3) == 0


def jobs(arrival_s, start_s, attempts=1):
    n = len(arrival_s)
    return SimpleNamespace(
        arrival_s=np.array(arrival_s, float), start_s=np.array(start_s, float), attempts=np.full(n, attempts)
    )


def test_passes_are_counted_from_overdue_on():
    system = SimpleNamespace(wait_limit_s=10.0, quotas=None)
    found = jobs([0, 1, 2, 3, 4], [50, 5, 20, 30, 60])
    assert most_passes(found, system) == 2  # the first job; the second started before it was overdue
    assert most_passes(found, SimpleNamespace(wait_limit_s=None, quotas=None)) is None
    assert most_passes(jobs([0, 1], [50, 20], attempts=2), system) is None
    assert most_passes(found, SimpleNamespace(wait_limit_s=10.0, quotas={"a": 1.0})) is None


def test_the_budget_is_recomputed_at_every_access():
    missed = lambda bits: {"missed": np.packbits(np.array(bits, dtype=bool))}  # noqa: E731
    budget = {"excess_share": 0.0, "spare_misses": 2.0}
    assert _budget_excess(budget, missed([1, 1, 0, 0, 0, 0, 0, 0]), missed([0] * 8)) == 0
    assert _budget_excess(budget, missed([1, 1, 1, 0, 0, 0, 0, 0]), missed([0, 0, 0, 0, 1, 0, 0, 0])) == 2
