"""PPO on prefetch scorers: it solves what has a known answer, exports what it learned, and repeats itself."""

from __future__ import annotations

import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from prefetch_toy import LAYOUT, OFF, PACED, assert_solved, observations, toy_search, two_tenants

from handrail.policies.learning.access_costs import CostWeights
from handrail.policies.learning.arm_features import arm_search
from handrail.policies.learning.prefetch_ppo import PrefetchEpisodes, train_prefetch_ppo
from handrail.policies.network import scorer_shapes, unflatten
from handrail.traces.errors import HandrailError

pytestmark = pytest.mark.skipif(
    not all(find_spec(p) for p in ("torch", "stable_baselines3", "sb3_contrib")), reason="training needs [train]"
)

TRACE = two_tenants(12_000, seed=1)
TEST = two_tenants(6_000, seed=2)
EPISODES = PrefetchEpisodes(calm=3.0, episode_accesses=3_000)
FROM_NOTHING = {"n_steps": 64, "temperature": 1.0, "ent_coef": 0.02, "target_kl": 0.03}

train = partial(train_prefetch_ppo, TRACE, PACED, layout=LAYOUT, search=toy_search(TRACE), settings=FROM_NOTHING)


@pytest.mark.parametrize("hidden", [(), (8,)])
def test_it_learns_whom_to_prefetch_for(hidden: tuple[int, ...], tmp_path: Path):
    seen: list[int] = []
    scorers = train(
        search=toy_search(TRACE, hidden),
        steps=10_000,
        episodes=EPISODES,
        snapshots=2,
        log_dir=tmp_path,
        on_step=seen.append,
    )
    assert_solved(scorers[-1].network(LAYOUT), TEST, PACED)
    assert scorers[-1].architecture.hidden == hidden
    assert [s.steps for s in scorers] == sorted({s.steps for s in scorers})
    assert len(scorers) <= 2
    assert seen[-1] == scorers[-1].steps >= 10_000
    assert list(tmp_path.glob("events.out.tfevents.*"))


def test_one_seed_gives_one_scorer():
    episodes = PrefetchEpisodes(simulators=2, episode_accesses=1_000)
    settings = {**FROM_NOTHING, "batch_size": 64}
    short = partial(train, steps=1_000, episodes=episodes, snapshots=1, settings=settings)
    first, second, other = short(seed=1)[-1], short(seed=1)[-1], short(seed=2)[-1]
    np.testing.assert_array_equal(first.tensors["linear"], second.tensors["linear"])
    assert (first.tensors["linear"] != other.tensors["linear"]).any()


def test_training_starts_at_the_searchs_start():
    search = arm_search(LAYOUT, observations(TRACE))
    trained = train(search=search, steps=100, episodes=EPISODES, settings={"learning_rate": 0.0, "temperature": 0.5})
    start = unflatten(search.start, scorer_shapes(len(search.features), ()))["linear"]
    np.testing.assert_allclose(trained[-1].tensors["linear"], start / 0.5, rtol=1e-6)


@pytest.mark.parametrize("per_tenant", [True, False])
def test_rewards_of_an_episode_are_what_it_costs_less_than_the_standing_scheme(per_tenant: bool):
    from handrail.policies.learning.tenant_envs import TenantEnvs

    config = PACED.model_copy(update={"per_tenant": per_tenant})
    envs = TenantEnvs(
        TRACE,
        config,
        layout=LAYOUT,
        search=arm_search(LAYOUT, observations(TRACE)),
        weights=CostWeights(),
        calm=1e6,
        simulators=2,
        episode_accesses=1_000,
        seed=0,
    )
    slots = 2 if per_tenant else 1
    assert envs.num_envs == 2 * slots
    with pytest.raises(TypeError, match="'gamma' cannot be set"):
        envs.set_attr("gamma", 0.5)
    with pytest.raises(TypeError, match="'reset' cannot be called"):
        envs.env_method("reset")

    def total(arms: list[int]) -> np.ndarray:
        envs.reset()
        gained, done = np.zeros(envs.num_envs), np.zeros(envs.num_envs, dtype=bool)
        while not done.all():
            seen, rewards, done, infos = envs.step(np.array(arms * 2))
            assert seen.shape == (envs.num_envs, *(envs.observation_space.shape or ()))
            gained += rewards
        assert all("terminal_observation" in info for info in infos)
        return gained

    np.testing.assert_allclose(total([OFF] * slots), 0.0, atol=1e-3)  # that is the standing scheme
    assert (total([2, OFF] if per_tenant else [2]) > 0.0).all() == per_tenant


def test_errors_name_the_mend(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(HandrailError, match="--steps must be at least 1, got 0"):
        train(steps=0)
    for values in ({"simulators": 0}, {"episode_accesses": 0}, {"calm": 0.0}):
        with pytest.raises(HandrailError, match=f"the episodes' {next(iter(values))} must be"):
            PrefetchEpisodes(**values)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(HandrailError, match=r"needs the extra \[train\]"):
        train(steps=10)


def test_the_module_imports_without_torch():
    import subprocess

    code = (
        "import sys, handrail.policies.learning.prefetch_ppo; "
        "sys.exit(any(m.split('.')[0] in ('torch', 'stable_baselines3') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
