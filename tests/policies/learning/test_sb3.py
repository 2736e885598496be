"""PPO and DQN: they learn what they must, export exactly what they learned, and repeat themselves."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from handrail.envs.common import Field, Layout
from handrail.policies import load_policy, save_policy
from handrail.policies.card import TrainingCard
from handrail.policies.learning.dqn import train_dqn
from handrail.policies.learning.ppo import train_ppo
from handrail.policies.learning.sb3 import fit, linear_layers, training_envs, training_packages
from handrail.traces.errors import HandrailError

LAYOUT = Layout([Field("up", 0, 1, ""), Field("drain_s", 0, 100, "")], [Field("prompt_ktokens", 0, 10, "")], 3)

needs_torch = pytest.mark.skipif(
    not all(__import__("importlib.util").util.find_spec(p) for p in ("torch", "stable_baselines3")),
    reason="training needs torch and stable-baselines3",
)


class Shortest(gym.Env):
    """Reward 0 for the replica with the shortest drain, -1 for another; every 20 steps a new episode."""

    observation_space = gym.spaces.Box(LAYOUT.low, LAYOUT.high, dtype=np.float32)
    action_space = gym.spaces.Discrete(3)

    def __init__(self) -> None:
        self._steps = 0

    def _observation(self) -> np.ndarray:
        drain = self.np_random.random(3) * 50
        self._best = int(drain.argmin())
        return np.array([1, drain[0], 1, drain[1], 1, drain[2], self.np_random.random() * 4], dtype=np.float32)

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        self._steps = 0
        return self._observation(), {}

    def step(self, action: int):
        reward = 0.0 if action == self._best else -1.0
        self._steps += 1
        return self._observation(), reward, False, self._steps >= 20, {}


def share_right(network, n: int = 500) -> float:
    rng = np.random.default_rng(0)
    right = 0
    for _ in range(n):
        drain = rng.random(3) * 50
        observation = np.array([1, drain[0], 1, drain[1], 1, drain[2], rng.random()], dtype=np.float32)
        right += network.act(observation) == drain.argmin()
    return right / n


SMALL = {
    train_ppo: {"n_steps": 256, "batch_size": 64, "gamma": 0.0, "learning_rate": 2e-3},
    train_dqn: {"learning_starts": 200, "batch_size": 64, "gamma": 0.0, "learning_rate": 2e-3, "train_freq": 1},
}


@needs_torch
@pytest.mark.parametrize("train", [train_ppo, train_dqn])
def test_the_best_action_is_learned_logged_and_exported(train, tmp_path: Path):
    seen: list[int] = []
    trained = train(
        [Shortest, Shortest],
        steps=6000,
        seed=0,
        log_dir=tmp_path / "log",
        snapshots=3,
        settings=SMALL[train],
        on_step=seen.append,
    )
    assert 2 <= len(trained) <= 3
    assert [t.steps for t in trained] == sorted({t.steps for t in trained})
    assert trained[-1].steps >= 6000
    assert seen[-1] >= 6000
    assert list((tmp_path / "log").glob("events.out.tfevents.*"))
    assert share_right(trained[-1].network(LAYOUT)) > 0.85

    last = trained[-1]
    save_policy(
        tmp_path / "policy",
        name="shortest",
        architecture=last.architecture,
        layout=LAYOUT,
        mean=last.mean,
        std=last.std,
        tensors=last.tensors,
        training=TrainingCard(trace="toy", trace_sha256="0" * 64, algorithm="ppo", seed=0),
    )
    assert share_right(load_policy(tmp_path / "policy", LAYOUT).network) == share_right(last.network(LAYOUT))


@needs_torch
@pytest.mark.parametrize("train", [train_ppo, train_dqn])
def test_one_seed_gives_one_network(train):
    run = partial(train, [Shortest], steps=300, snapshots=1, settings=SMALL[train])
    first, second, other = run(seed=1)[-1], run(seed=1)[-1], run(seed=2)[-1]
    for name, tensor in first.tensors.items():
        np.testing.assert_array_equal(tensor, second.tensors[name])
    assert any((tensor != other.tensors[name]).any() for name, tensor in first.tensors.items())


def ppo_linears(policy) -> list:
    return linear_layers(policy.mlp_extractor.policy_net, policy.action_net)


def dqn_linears(policy) -> list:
    return linear_layers(policy.q_net.q_net)


@needs_torch
@pytest.mark.parametrize(
    ("kind", "linears", "activation"), [("PPO", ppo_linears, "tanh"), ("DQN", dqn_linears, "relu")]
)
def test_numpy_agrees_with_the_library_within_1e_5(kind: str, linears, activation: str):
    sb3, torch = training_packages()
    rng = np.random.default_rng(1)
    with training_envs([Shortest], seed=0, gamma=0.9) as envs:
        extra = {"n_steps": 128, "batch_size": 64} if kind == "PPO" else {"learning_starts": 50}
        model = getattr(sb3, kind)("MlpPolicy", envs, seed=0, device="cpu", **extra)
        network = fit(model, linears, activation, steps=256, snapshots=1, log_dir=None, on_step=None)[-1].network(
            LAYOUT
        )
        for _ in range(200):
            drain = rng.random(3) * 80
            observation = np.array([1, drain[0], 1, drain[1], 1, drain[2], rng.random() * 9], dtype=np.float32)
            normalised = envs.normalize_obs(observation[None])
            ours = network.scores(observation)
            with torch.no_grad():
                if kind == "PPO":
                    expected = model.policy.get_distribution(torch.as_tensor(normalised)).distribution.logits.numpy()[0]
                    # The library's logits are normalised: they differ from the network's by one constant.
                    ours = ours - np.log(np.exp(ours.astype(np.float64)).sum())
                else:
                    expected = model.q_net(torch.as_tensor(normalised)).numpy()[0]
            np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)
            assert network.act(observation) == int(model.predict(normalised, deterministic=True)[0][0])


@needs_torch
def test_no_steps_is_a_clear_error():
    with pytest.raises(HandrailError, match="--steps must be at least 1, got 0"):
        train_ppo([Shortest], steps=0)


@pytest.mark.parametrize("missing", ["torch", "stable_baselines3"])
@pytest.mark.parametrize("train", [train_ppo, train_dqn])
def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch, train, missing: str):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(HandrailError, match=r"needs the extra \[train\].*pip install -e '.\[train\]'"):
        train([Shortest], steps=10)


def test_only_learning_names_torch():
    import handrail.policies

    root = Path(next(iter(handrail.policies.__path__)))
    naming = [p.relative_to(root).parts[0] for p in root.rglob("*.py") if "import torch" in p.read_text()]
    assert set(naming) <= {"learning"}


def test_the_package_imports_without_torch():
    import subprocess

    code = (
        "import sys, handrail.policies, handrail.policies.learning.cem, handrail.policies.learning.features, "
        "handrail.policies.learning.ppo, handrail.policies.learning.dqn; "
        "sys.exit(any(m.split('.')[0] in ('torch', 'stable_baselines3', 'tensorboard') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
