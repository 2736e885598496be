"""A clone agrees with what it was cloned from; a residual starts at the clone, and the two are exported as one."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from guarded_toy import LAYOUT, Forbidding, seen

from handrail.policies import make_heuristic
from handrail.policies.learning.cloning import Clone, Demonstrations, clone_policy
from handrail.policies.learning.residual_ppo import train_residual_ppo
from handrail.policies.learning.tally import TrainingTally
from handrail.policies.network import Mlp
from handrail.traces.errors import HandrailError

pytestmark = pytest.mark.skipif(
    not all(find_spec(p) for p in ("torch", "stable_baselines3")), reason="training needs [train]"
)
SMALL = {"n_steps": 128, "batch_size": 64, "gamma": 0.0, "learning_rate": 3e-3}


class LeastDrain:
    """The heuristic of the toy."""

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        return int(LAYOUT.replica(observation, "drain_s").argmin()), state


@pytest.fixture(scope="module")
def clone() -> Clone:
    rng = np.random.default_rng(0)
    shown = Demonstrations(LeastDrain(), stride=2)
    for drain in rng.random((6000, 3)) * 50:
        shown.predict(seen(drain))
    assert len(shown.observations) == len(shown.actions) == 3000
    return clone_policy(shown.observations, shown.actions, 3, seed=0)


def network_of(clone: Clone) -> Mlp:
    return Mlp(LAYOUT, clone.mean, clone.std, 10.0, "tanh", clone.tensors)


def test_the_clone_agrees_where_it_was_not_fitted(clone: Clone):
    rng = np.random.default_rng(9)
    drains = rng.random((500, 3)) * 50
    agreement = np.mean([network_of(clone).act(seen(drain)) == drain.argmin() for drain in drains])
    assert agreement > 0.95
    assert clone.agreement == pytest.approx(agreement, abs=0.04)


def test_one_seed_gives_one_clone():
    rng = np.random.default_rng(1)
    observations = [seen(drain) for drain in rng.random((200, 3)) * 50]
    actions = [int(LAYOUT.replica(each, "drain_s").argmin()) for each in observations]
    first, second, other = (clone_policy(observations, actions, 3, seed=seed) for seed in (0, 0, 1))
    for name, tensor in first.tensors.items():
        np.testing.assert_array_equal(tensor, second.tensors[name])
    assert any((tensor != other.tensors[name]).any() for name, tensor in first.tensors.items())


def test_training_starts_at_the_clone_and_leaves_it_where_the_reward_pulls(clone: Clone):
    tally = TrainingTally()
    trained = train_residual_ppo([Forbidding], clone, steps=4000, settings=SMALL, snapshots=2, tally=tally)
    rng = np.random.default_rng(2)
    some = [seen(drain) for drain in rng.random((200, 3)) * 50]
    first, last, own = trained[0].network(LAYOUT), trained[-1].network(LAYOUT), network_of(clone)
    assert trained[0].steps == 0
    for each in some:
        np.testing.assert_allclose(first.scores(each), own.scores(each), rtol=1e-4, atol=1e-4)
    # Only action 1 earns: the residual must overrule the clone wherever another replica drains first.
    assert np.mean([last.act(each) == 1 for each in some]) > 0.9
    assert np.mean([first.act(each) == 1 for each in some]) < 0.5
    assert tally.to_json()["clone_agreement"] == clone.agreement
    np.testing.assert_array_equal(trained[-1].tensors["layers.0.weight"][:64], clone.tensors["layers.0.weight"])


def test_what_is_exported_is_what_was_trained(clone: Clone):
    """NumPy's single network against torch's two, after training."""
    import torch

    from handrail.policies.learning.residual_policy import CloneAndResidual

    torch.manual_seed(0)
    nets = CloneAndResidual(clone)
    with torch.no_grad():
        for parameter in nets.residual.parameters():
            parameter.normal_(0.0, 0.3)
    network = Mlp(LAYOUT, clone.mean, clone.std, 10.0, "tanh", nets.tensors())
    rng = np.random.default_rng(3)
    for drain in rng.random((100, 3)) * 80:
        with torch.no_grad():
            expected = nets.forward_actor(torch.as_tensor(seen(drain))[None]).numpy()[0]
        np.testing.assert_allclose(network.scores(seen(drain)), expected, rtol=1e-4, atol=1e-4)


def test_too_little_to_clone_from_is_a_clear_error():
    with pytest.raises(HandrailError, match="at least 20 decisions of the fallback, got 3"):
        clone_policy([seen(np.ones(3))] * 3, [0] * 3, 3)


def test_demonstrations_leave_the_policy_as_it_is():
    plain, shown = make_heuristic("round-robin", LAYOUT), Demonstrations(make_heuristic("round-robin", LAYOUT))
    state = shown_state = None
    for _ in range(5):
        action, state = plain.predict(seen(np.ones(3)), state)
        shown_action, shown_state = shown.predict(seen(np.ones(3)), shown_state)
        assert action == shown_action
