"""Broken policies that are made of other policies, the same in all domains."""

from __future__ import annotations

import numpy as np
import pytest

from handrail.envs.cluster import layout_for as cluster_layout
from handrail.envs.llm_serving import layout_for as llm_layout
from handrail.envs.prefetch import DEFAULT_MENU
from handrail.envs.prefetch import layout_for as prefetch_layout
from handrail.policies import Feedback, make_policy, make_sabotage
from handrail.policies.sabotage import KINDS
from handrail.policies.sabotage.common import HEALTHY_DECISIONS
from handrail.policies.sabotage.faults import FLAP_DECISIONS, SLEEP_DECISIONS, Sleeper
from handrail.traces import HandrailError

LAYOUTS = {"llm": llm_layout(4), "cluster": cluster_layout(8), "prefetch": prefetch_layout(len(DEFAULT_MENU))}
SETTINGS = {"llm": {}, "cluster": {}, "prefetch": {"arms": DEFAULT_MENU}}
HEALTHY = {"llm": "slow", "cluster": "slow", "prefetch": "slow"}


def observations(domain, n=40, seed=0):
    layout = LAYOUTS[domain]
    rng = np.random.default_rng(seed)
    drawn = (rng.random((n, layout.size)) * np.minimum(layout.high, 50.0)).astype(np.float32)
    for row in drawn:
        layout.replica(row, "up")[:] = 1.0
    return drawn


def make(kind, domain, seed=0):
    return make_sabotage(kind, LAYOUTS[domain], seed, domain, **SETTINGS[domain])


def choices(policy, seen):
    return [policy.predict(observation)[0] for observation in seen]


@pytest.mark.parametrize("domain", LAYOUTS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_made_in_every_domain(domain, kind):
    assert make(kind, domain).name == f"sabotage:{kind}"


def test_an_unknown_kind_lists_those_there_are():
    with pytest.raises(HandrailError, match=r"sabotage:worst.*sabotage:sleeper"):
        make("sulking", "llm")


@pytest.mark.parametrize("domain", LAYOUTS)
def test_flapping_is_healthy_and_worst_in_turn(domain):
    seen = observations(domain)
    healthy, worst = choices(make(HEALTHY[domain], domain), seen), choices(make("worst", domain), seen)
    expected = [(worst if i // FLAP_DECISIONS % 2 else healthy)[i] for i in range(len(seen))]
    assert choices(make("flapping", domain), seen) == expected
    assert healthy != worst


def test_hanging_declares_that_it_takes_for_ever():
    policy, seen = make("hanging", "llm"), observations("llm")
    declared = []
    for i in range(HEALTHY_DECISIONS + 2):
        policy.predict(seen[i % len(seen)])
        declared.append(policy.latency_s)
    assert declared == [0.0] * HEALTHY_DECISIONS + [float("inf")] * 2
    assert not policy.in_earnest


def test_two_indices_are_of_the_wrong_shape():
    action, state = make("wrong-shape", "llm").predict(observations("llm")[0], "kept")
    assert action.shape == (2,)
    assert state == "kept"


@pytest.mark.parametrize("domain", LAYOUTS)
def test_untrained_weights_are_drawn_from_the_seed(domain):
    seen = observations(domain, 200)
    bundled = make_policy("bundled", LAYOUTS[domain], domain=domain, **SETTINGS[domain])
    one = choices(make("untrained", domain, 1), seen)
    assert one == choices(make("untrained", domain, 1), seen)
    assert one != choices(bundled, seen)
    assert any(one != choices(make("untrained", domain, seed), seen) for seed in (2, 3, 4))
    assert make("untrained", domain, 1).policy_hash not in (
        bundled.policy_hash,
        make("untrained", domain, 2).policy_hash,
    )


@pytest.mark.parametrize("domain", LAYOUTS)
def test_the_foreign_policy_is_another_one(domain):
    seen = observations(domain, 200)
    bundled = make_policy("bundled", LAYOUTS[domain], domain=domain, **SETTINGS[domain])
    foreign = make("foreign", domain)
    assert foreign.card.training.trace_sha256 != bundled.card.training.trace_sha256
    assert choices(foreign, seen) != choices(bundled, seen)


def test_a_sleeper_wakes_when_it_may_and_the_load_is_high():
    layout = LAYOUTS["llm"]
    where = layout.names().index("rate_60s")
    worst, good = make("worst", "llm"), make_policy("bundled", layout)

    def run(loads, may_wake):
        policy = Sleeper(good, worst, layout, "rate_60s", may_wake)
        awake = []
        for i, load in enumerate(loads):
            seen = observations("llm", 1, seed=i)[0]
            seen[where] = load
            policy.notify(Feedback(float(i), i))
            action = policy.predict(seen)[0]
            awake.append(action == worst.predict(seen)[0] and policy.awake)
            if not awake[-1]:
                assert action == good.predict(seen)[0]
        return awake

    assert run([10.0] * 6, lambda now_s, decision: now_s >= 2) == [False] * 6
    rising = run([10, 10, 20, 10, 20, 10, 10], lambda now_s, decision: 3 <= now_s < 6)
    assert rising == [False, False, False, False, True, True, False]
    assert SLEEP_DECISIONS == 2_000
