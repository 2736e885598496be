"""Learning behind a guard: which action is credited, what is counted, and what a missed objective costs."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from guarded_toy import LAYOUT, Forbidding

from handrail.policies.learning.dqn import train_dqn
from handrail.policies.learning.executed_actions import credit_executed
from handrail.policies.learning.ppo import train_ppo
from handrail.policies.learning.sb3 import learn, training_envs, training_packages
from handrail.policies.learning.tally import TrainingTally
from handrail.traces.errors import HandrailError

pytestmark = pytest.mark.skipif(
    not all(find_spec(p) for p in ("torch", "stable_baselines3", "sb3_contrib")), reason="training needs [train]"
)
SMALL = {"n_steps": 128, "batch_size": 64, "gamma": 0.0, "learning_rate": 2e-3}


def rollout(algorithm: str, learn_from: str):
    """The rollout buffer after one rollout behind the guard, with what was proposed and executed."""
    sb3, _ = training_packages()
    proposed, executed = [], []
    with training_envs([Forbidding, Forbidding], seed=0, gamma=0.0) as envs:
        if algorithm == "maskable":
            from sb3_contrib import MaskablePPO

            model = MaskablePPO("MlpPolicy", envs, seed=0, device="cpu", n_steps=64, batch_size=64)
        else:
            model = sb3.PPO("MlpPolicy", envs, seed=0, device="cpu", n_steps=64, batch_size=64)
        kept: dict[str, np.ndarray] = {}

        def keep() -> dict[str, float]:
            buffer = model.rollout_buffer
            kept.update(
                actions=buffer.actions[..., 0].copy(),
                log_probs=buffer.log_probs.copy(),
                observations=buffer.observations.copy(),
            )
            _, torch = training_packages()
            with torch.no_grad():
                flat = torch.as_tensor(kept["observations"].reshape(-1, LAYOUT.size))
                chosen = torch.as_tensor(kept["actions"].reshape(-1))
                _, present, _ = model.policy.evaluate_actions(flat, chosen)
            kept["present"] = present.numpy().reshape(kept["log_probs"].shape)
            return {"toy/seen": 1.0}

        class Noting(TrainingTally):
            def note(self, infos) -> None:
                super().note(infos)
                proposed.append([i["proposed"] for i in infos])
                executed.append([i["executed"] for i in infos])

        learn(
            model,
            lambda now: now,
            steps=128,
            snapshots=1,
            log_dir=None,
            on_step=None,
            tally=Noting(),
            learn_from=learn_from,  # type: ignore[arg-type]
            on_rollout=keep,
        )
    return kept, np.array(proposed), np.array(executed)


@pytest.mark.parametrize("algorithm", ["ppo", "maskable"])
@pytest.mark.parametrize("learn_from", ["proposed", "executed"])
def test_the_rollout_holds_the_action_that_is_learned_from(algorithm: str, learn_from: str):
    kept, proposed, executed = rollout(algorithm, learn_from)
    assert (proposed != executed).any()
    np.testing.assert_array_equal(kept["actions"], executed if learn_from == "executed" else proposed)
    # Whichever it is, its stored probability is the present policy's: the first update starts at ratios of 1.
    np.testing.assert_allclose(kept["log_probs"], kept["present"], atol=1e-5)


def test_the_replay_buffer_of_q_learning_holds_what_was_executed():
    step = {"infos": [{"executed": 0}, {"executed": 1}], "buffer_actions": np.array([[2], [1]])}
    credit_executed(step, policy=None)
    assert step["buffer_actions"].tolist() == [[0], [1]]


def test_a_forbidden_action_loses_no_probability_when_proposals_are_learned_from_what_was_executed():
    """Proposing 2 or 0 earns the same. By proposals both fall to 1's gain; by executed actions 2 is never credited."""
    run = partial(train_ppo, [Forbidding], steps=2000, seed=0, snapshots=1, settings=SMALL)
    by_proposal, by_execution = run()[-1].network(LAYOUT), run(learn_from="executed")[-1].network(LAYOUT)
    rng = np.random.default_rng(0)
    some = [np.array([1, a, 1, b, 1, c, 1], dtype=np.float32) for a, b, c in rng.random((50, 3)) * 50]
    assert all(by_proposal.act(each) == by_execution.act(each) == 1 for each in some)
    gap = {
        name: np.mean([network.scores(each)[2] - network.scores(each)[0] for each in some])
        for name, network in (("proposed", by_proposal), ("executed", by_execution))
    }
    assert gap["executed"] > gap["proposed"] + 0.5


@pytest.mark.parametrize("train", [train_ppo, train_dqn])
def test_everything_is_counted(train):
    tally = TrainingTally()
    settings = SMALL if train is train_ppo else {"learning_starts": 50, "batch_size": 32}
    train([Forbidding], steps=256, seed=0, settings=settings, tally=tally, learn_from="executed")
    assert tally.decisions == tally.judged == tally.asked == 256
    assert 0 < tally.interventions < 256
    assert 0 < tally.violations < 256
    assert tally.to_json()["violations_per_1000"] == 1000 * tally.violations / 256
    assert "multiplier" not in tally.to_json()


def test_a_price_on_missed_objectives_keeps_their_share_down(tmp_path: Path):
    """Free, all take action 1, which is paid for and misses; priced, few do, and the multiplier has risen."""
    free, priced = TrainingTally(), TrainingTally()
    run = partial(train_ppo, [Forbidding], steps=4_000, seed=0, snapshots=1, settings=SMALL)
    run(tally=free)
    run(tally=priced, violation_limit=0.1, log_dir=tmp_path)
    assert free.violations > 0.7 * free.judged
    assert priced.violations < 0.5 * free.violations
    assert priced.multiplier is not None
    assert priced.multiplier > 1.0
    assert priced.to_json()["violation_limit"] == 0.1
    if find_spec("tensorboard"):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(tmp_path))
        events.Reload()
        assert "lagrangian/multiplier" in events.Tags()["scalars"]


def test_the_multiplier_falls_to_0_where_nothing_is_missed():
    class Spotless(Forbidding):
        def step(self, action: int):
            *rest, info = super().step(action)
            return *rest, {**info, "cost": 0.0}

    tally = TrainingTally()
    train_ppo([Spotless], steps=256, settings=SMALL, tally=tally, violation_limit=0.3)
    assert tally.violations == 0
    assert tally.multiplier == 0.0


@pytest.mark.parametrize("limit", [-0.1, 1.0, float("nan")])
def test_a_limit_that_is_no_share_is_refused(limit: float):
    with pytest.raises(HandrailError, match="--violation-limit must be at least 0 and below 1"):
        train_ppo([Forbidding], steps=100, violation_limit=limit)


def test_one_seed_gives_one_priced_network():
    run = partial(train_ppo, [Forbidding], steps=256, snapshots=1, settings=SMALL, violation_limit=0.2)
    first, second = run(seed=1)[-1], run(seed=1)[-1]
    for name, tensor in first.tensors.items():
        np.testing.assert_array_equal(tensor, second.tensors[name])
