"""Each scheduling rule against the sentence that defines it."""

from __future__ import annotations

import copy
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_cluster import LAYOUT, PROCESSORS, WAIT, job, queue, random_queue

from handrail.envs.cluster.config import ClusterConfig
from handrail.envs.cluster.layout import layout_for
from handrail.envs.common import Layout
from handrail.policies import HEURISTICS as ROUTING
from handrail.policies import Policy, heuristics_of, make_heuristic, make_policy
from handrail.policies.guards import OverdueRule
from handrail.traces.errors import HandrailError

NAMES = list(heuristics_of("cluster"))


def make(name: str, layout: Layout = LAYOUT, **kwargs: object):
    return make_heuristic(name, layout, domain="cluster", **kwargs)


def choose(name: str, observation: np.ndarray, **kwargs: object) -> int:
    action, state = make(name, **kwargs).predict(observation, "kept")
    assert state == "kept"
    assert type(action) is int
    return action


def test_the_names_of_the_command_line():
    assert NAMES == ["fcfs", "sjf", "saf", "f1", "f2", "f3", "f4", "wfp3", "unicep", "random"]
    assert heuristics_of("llm") is ROUTING


@pytest.mark.parametrize("name", NAMES)
def test_every_heuristic_is_a_policy_that_says_what_it_knows(name: str):
    policy = make(name, knowledge="user_estimate")
    assert isinstance(policy, Policy)
    assert policy.name == name
    assert policy.latency_s == 0.0
    assert policy.knows == ("none" if name in ("fcfs", "random") else "user_estimate")
    assert make_policy(name, LAYOUT, domain="cluster").name == name


def test_names_belong_to_their_domain():
    with pytest.raises(HandrailError, match=r"no heuristic 'expected-drain'; choose one of fcfs, sjf"):
        make("expected-drain")
    with pytest.raises(HandrailError, match=r"no heuristic 'sjf'; choose one of random, round-robin"):
        make_heuristic("sjf", LAYOUT)
    with pytest.raises(HandrailError, match=r"--policy expected-drain: .* bundled, fcfs, sjf"):
        make_policy("expected-drain", LAYOUT, domain="cluster")


def test_passes_are_those_of_the_clusters_default():
    config = ClusterConfig(processors=4)
    assert make("sjf")._overdue.overdue_passes == config.overdue_passes
    assert make("sjf", overdue_passes=7)._overdue.overdue_passes == 7


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_choice_is_legal_keeps_the_overdue_rule_and_delays_no_reservation_of_another(name: str, data: st.DataObject):
    layout = layout_for(data.draw(st.integers(1, 9), label="window"))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), label="seed"))
    policy = make(name, layout, seed=1, tie_seed=data.draw(st.none() | st.integers(0, 3), label="tie_seed"))
    rule = OverdueRule(layout, 500)
    wait = layout.n_replicas - 1
    for _ in range(5):
        observation = random_queue(layout, rng)
        before = observation.copy()
        action, _ = policy.predict(observation)
        np.testing.assert_array_equal(observation, before)
        up = layout.replica(observation, "up")
        if not up.any():
            assert action == wait
            continue
        if not up[:wait].any():
            assert action == wait
            continue
        assert up[action] == 1.0
        if up[wait]:
            assert rule.permits(observation, action)
        due = rule.due(observation)
        if due >= 0:
            assert action == due


@pytest.mark.parametrize("name", NAMES)
def test_equal_seeds_give_equal_choices_and_a_deep_copy_goes_on_alike(name: str):
    rng = np.random.default_rng(5)
    observations = [random_queue(LAYOUT, rng) for _ in range(60)]
    first, second = make(name, seed=3), make(name, seed=3)
    assert [first.predict(o)[0] for o in observations[:30]] == [second.predict(o)[0] for o in observations[:30]]
    fork = copy.deepcopy(first)
    assert [first.predict(o)[0] for o in observations[30:]] == [fork.predict(o)[0] for o in observations[30:]]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_to_start_is_to_wait(name: str):
    assert choose(name, queue()) == WAIT
    assert choose(name, queue(job(fits=0), job(fits=0))) == WAIT
    assert choose(name, queue(may_wait=False)) == WAIT


# The order of each rule, on jobs that all fit.


def order(name: str, *jobs: dict[str, float]) -> list[int]:
    """Slots in the order in which the rule takes them."""
    left = dict(enumerate(jobs))
    out = []
    while left:
        slots = list(left)
        chosen = slots[choose(name, queue(*left.values()))]
        out.append(chosen)
        del left[chosen]
    return out


def test_fcfs_takes_the_longest_wait():
    assert order("fcfs", job(wait_s=1), job(wait_s=3), job(wait_s=2)) == [1, 2, 0]


def test_sjf_takes_the_shortest_estimate_and_saf_the_smallest_area():
    jobs = job(estimate_s=50, size_share=1.0), job(estimate_s=40, size_share=0.5), job(estimate_s=60, size_share=0.1)
    assert order("sjf", *jobs) == [1, 0, 2]
    assert order("saf", *jobs) == [2, 1, 0]


FITTED = {
    "f1": lambda r, n, s: math.log10(r) * n + 870 * math.log10(s),
    "f2": lambda r, n, s: math.sqrt(r) * n + 25_600 * math.log10(s),
    "f3": lambda r, n, s: r * n + 6_860_000 * math.log10(s),
    "f4": lambda r, n, s: r * math.sqrt(n) + 530_000 * math.log10(s),
    "wfp3": lambda r, n, w: -((w / r) ** 3) * n,
    "unicep": lambda r, n, w: -w / (math.log2(n) * r),
}


@pytest.mark.parametrize("name", FITTED)
def test_scores_are_the_published_formulas_in_processors_and_seconds(name: str):
    rng = np.random.default_rng(4)
    r, n, s = rng.integers(1, 90_000, 3), rng.integers(2, 257, 3), rng.integers(1, 10**6, 3)
    clock = "wait_s" if name in ("wfp3", "unicep") else "submit_s"
    jobs = [
        job(estimate_s=float(a), size_share=b / PROCESSORS, **{clock: float(c)})
        for a, b, c in zip(r, n, s, strict=True)
    ]
    scores = make(name).scores(queue(*jobs))
    expected = [FITTED[name](int(a), int(b), int(c)) for a, b, c in zip(r, n, s, strict=True)]
    assert scores[:3] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_finite_at_the_edges(name: str):
    edge = job(estimate_s=0, size_share=1 / PROCESSORS, wait_s=0, submit_s=0)
    assert np.isfinite(make(name).scores(queue(edge, edge | {"wait_s": 1e6}))).all()


def test_unicep_lets_one_processor_go_first():
    one = job(size_share=1 / PROCESSORS, wait_s=1, estimate_s=1e5)
    assert order("unicep", job(size_share=2 / PROCESSORS, wait_s=1e4, estimate_s=1), one) == [1, 0]


def test_random_is_uniform_and_depends_on_the_seed():
    observation = queue(job(), job(), job())
    policy = make("random")
    draws = [policy.predict(observation)[0] for _ in range(3000)]
    assert set(draws) == {0, 1, 2}
    assert min(Counter(draws).values()) > 900
    other = make("random", seed=1)
    assert draws[:50] != [other.predict(observation)[0] for _ in range(50)]


# Backfilling.


def test_sjf_is_easy_backfilling_where_it_is_the_standing_order_too():
    head = job(estimate_s=10, fits=0)
    assert choose("sjf", queue(head, job(estimate_s=20, head_delay_s=5), job(estimate_s=30))) == 2
    assert choose("sjf", queue(head, job(estimate_s=20), job(estimate_s=30))) == 1
    assert choose("sjf", queue(head, job(estimate_s=20, head_delay_s=5))) == WAIT


def test_a_rule_starts_its_own_first_job_whatever_the_standing_head_loses():
    jobs = job(estimate_s=10, fits=0), job(estimate_s=20, wait_s=9, head_delay_s=5), job(estimate_s=30)
    assert choose("fcfs", queue(*jobs)) == 1
    assert choose("fcfs", queue(jobs[0] | {"wait_s": 10}, *jobs[1:])) == 2


def test_where_waiting_is_not_legal_something_starts():
    head = job(estimate_s=10, fits=0)
    assert choose("sjf", queue(head, job(estimate_s=20, head_delay_s=5), may_wait=False)) == 1
    # Under a rule that commits, jobs that do not fit are legal: the first one is taken.
    committed = head | {"up": 1.0}
    assert choose("sjf", queue(committed, job(estimate_s=20), may_wait=False)) == 0


# Overdue jobs.


@pytest.mark.parametrize("name", NAMES)
def test_the_first_overdue_job_goes_first(name: str):
    late, later = job(overdue=1, estimate_s=900), job(overdue=1, overdue_passed=4, estimate_s=1)
    assert choose(name, queue(late, later, job(overdue_passed=4, estimate_s=1))) == 0


@pytest.mark.parametrize("name", NAMES)
def test_while_it_does_not_fit_only_jobs_that_do_not_delay_it_may_pass_and_only_so_many(name: str):
    late = job(overdue=1, fits=0)
    later = job(overdue=1, overdue_passed=4)
    assert choose(name, queue(late, later)) == WAIT
    assert choose(name, queue(late, later, job(overdue_passed=500))) == 2
    assert choose(name, queue(late, later, job(overdue_passed=501))) == WAIT
    assert choose(name, queue(late, later, job(overdue_passed=4, head_delay_s=1))) == WAIT
    assert choose(name, queue(late, later, job(overdue_passed=8)), overdue_passes=7) == WAIT


# The placebo.


@pytest.mark.parametrize("name", NAMES)
def test_ties_go_in_slot_order_and_a_placebo_draws_lots(name: str):
    observation = queue(job(fits=0, head_delay_s=0, wait_s=9), *[job(wait_s=8.9999)] * 3)
    if name != "random":
        assert choose(name, observation) == 1
    placebo = make(name, tie_seed=0)
    draws = Counter(placebo.predict(observation)[0] for _ in range(900))
    assert set(draws) == {1, 2, 3}
    assert min(draws.values()) > 220


def test_a_placebo_treats_near_ties_as_ties_and_nothing_else():
    placebo = make("sjf", tie_seed=0)
    near = queue(job(estimate_s=1000), job(estimate_s=1000.5), job(estimate_s=1005))
    assert {placebo.predict(near)[0] for _ in range(100)} == {0, 1}
    assert {choose("sjf", near) for _ in range(10)} == {0}


def test_a_layout_without_a_field_that_is_read_is_refused():
    for dropped in ("estimate_s", "head_delay_s", "overdue_passed"):
        short = Layout([f for f in LAYOUT.replica_fields if f.name != dropped], LAYOUT.global_fields, 5)
        with pytest.raises(HandrailError, match=dropped):
            make("sjf", short)


def test_a_job_without_gpus_waits_like_any_other():
    # On a cluster with GPUs it has no size, but it is no empty slot.
    head = job(estimate_s=10, fits=0, size_share=0.0)
    assert choose("sjf", queue(head, job(estimate_s=20, head_delay_s=5), job(estimate_s=30))) == 2
