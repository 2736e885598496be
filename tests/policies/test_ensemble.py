"""Ensembles: how members decide together, and what a guard hears of them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from handrail.envs.llm_serving.layout import layout_for
from handrail.policies import load_policy
from handrail.policies.ensemble import EnsemblePolicy
from handrail.policies.factory import bundled_folder
from handrail.policies.guards import ContractConfig, DisagreementConfig, GuardConfig, GuardedPolicy, build_guard
from handrail.policies.interface import Feedback, Policy
from handrail.policies.value_heads import ValueHeads
from handrail.policies.valued_policy import ValuedPolicy
from handrail.traces.errors import HandrailError

LAYOUT = layout_for(4)
SEEN = np.zeros(LAYOUT.size, dtype=np.float32)


class Voter:
    """Proposes one action, and counts its calls in its state."""

    def __init__(self, action: int, scores=None, latency_s: float = 0.0) -> None:
        self.action, self.latency_s, self.name = action, latency_s, f"v{action}"
        if scores is not None:
            self.network = SimpleNamespace(scores=lambda _: np.array(scores, dtype=float))

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        return self.action, (state or 0) + 1


@pytest.mark.parametrize(("votes", "action"), [([2, 1, 1], 1), ([3, 0], 3), ([0, 3, 3, 0], 0), ([1, 1, 1], 1)])
def test_the_majority_decides_and_of_equals_the_earliest(votes, action):
    ensemble = EnsemblePolicy([Voter(v) for v in votes])
    assert ensemble.predict(SEEN)[0] == action
    assert ensemble.votes.tolist() == votes
    assert isinstance(ensemble, Policy)


def test_every_member_keeps_its_state():
    ensemble = EnsemblePolicy([Voter(0), Voter(1)])
    _, state = ensemble.predict(SEEN)
    assert ensemble.predict(SEEN, state)[1] == (2, 2)


def test_the_slowest_member_is_waited_for():
    assert EnsemblePolicy([Voter(0, latency_s=0.1), Voter(1, latency_s=0.3)]).latency_s == 0.3


def test_mean_scores_weigh_members_alike_whatever_their_scale():
    members = [Voter(0, [2.0, 1.9, 0.0, 0.0]), Voter(1, [0.0, 100.0, 0.0, 0.0]), Voter(0, [0.2, 0.19, 0.0, 0.0])]
    assert EnsemblePolicy(members, "majority").predict(SEEN)[0] == 0
    assert EnsemblePolicy(members, "mean-scores").predict(SEEN)[0] == 1


def test_mean_scores_never_take_what_no_member_would():
    members = [Voter(0, [1.0, 0.0, 9.0, 0.0]), Voter(1, [0.0, 1.0, 9.0, 0.0])]  # 2 is down: no member takes it
    assert EnsemblePolicy(members, "mean-scores").predict(SEEN)[0] in (0, 1)


def test_an_ensemble_of_one_policy_is_that_policy():
    policy = load_policy(bundled_folder("llm"), LAYOUT)
    rng = np.random.default_rng(np.random.SeedSequence(0))
    for rule in ("majority", "mean-scores"):
        ensemble = EnsemblePolicy([policy] * 3, rule)
        for _ in range(50):
            seen = (rng.random(LAYOUT.size) * np.minimum(LAYOUT.high, 10.0)).astype(np.float32)
            LAYOUT.replica(seen, "up")[:] = [1, 1, 0, 1]
            assert ensemble.predict(seen)[0] == policy.predict(seen)[0] == ensemble.votes[0]


def test_ensembles_that_cannot_work_are_refused():
    with pytest.raises(HandrailError, match="two members"):
        EnsemblePolicy([Voter(0)])
    with pytest.raises(HandrailError, match="scores"):
        EnsemblePolicy([Voter(0), Voter(1)], "mean-scores")


def test_a_guard_hears_the_votes_and_the_values():
    weights = np.zeros((3, LAYOUT.size + 1))
    weights[:, -1] = [1.0, 2.0, 3.0]
    heads = ValueHeads(LAYOUT, np.zeros(LAYOUT.size), np.ones(LAYOUT.size), weights)
    ensemble = EnsemblePolicy([Voter(1), Voter(2), Voter(3)], value_heads=heads)
    assert ensemble.predict(SEEN)[0] == 1
    assert ensemble.values is not None
    assert ensemble.values.tolist() == [1.0, 2.0, 3.0]
    config = GuardConfig(checks=(ContractConfig(), DisagreementConfig(min_decisions=1, share_limit=0.5)))
    guarded = GuardedPolicy(ensemble, Voter(0), build_guard(config, LAYOUT), LAYOUT)
    guarded.notify(Feedback(0.0, 0))
    assert guarded.predict(SEEN)[0] == 0
    assert guarded.interventions == {"ensemble-disagrees": 1}


def test_a_single_policy_may_have_value_heads():
    weights = np.zeros((2, LAYOUT.size + 1))
    weights[:, -1] = [4.0, 5.0]
    policy = ValuedPolicy(Voter(3, latency_s=0.2), ValueHeads(LAYOUT, SEEN, np.ones(LAYOUT.size), weights))
    policy.notify(Feedback(0.0, 0))
    assert policy.predict(SEEN) == (3, 1)
    assert (policy.values.tolist(), policy.latency_s, policy.name) == ([4.0, 5.0], 0.2, "v3")
