"""handrail/CachePrefetch-v0: both checkers, determinism, vector forms, rewards that add up, nothing seen ahead."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from prefetch_samples import TENANTS, accesses, one_tenant, three_tenants

import handrail.envs  # noqa: F401  (registers the environment)
from handrail.envs.prefetch import CacheConfig, PrefetchSimulator, TierConfig
from handrail.envs.prefetch.environment import CachePrefetchEnv
from handrail.envs.prefetch.observer import PrefetchObserver
from handrail.envs.prefetch.warmth import rows_that_fill
from handrail.traces import HandrailError

ID = "handrail.envs:handrail/CachePrefetch-v0"
MENU = ("none", "obl:1", "next-line:8", "stride:4")
CACHE = CacheConfig(
    objects=200,
    tier=TierConfig(latency_s=2e-3, service_s=2e-4, bandwidth_bytes_per_s=2e7),
    menu=MENU,
    every_accesses=32,
)
TRACE = three_tenants(4000)


def variant(**changes) -> CacheConfig:
    return CacheConfig(**{**CACHE.model_dump(), **changes})


def small_env(**arguments) -> CachePrefetchEnv:
    arguments = {"trace": TRACE, "cache": CACHE, "episode_accesses": 500} | arguments
    return gym.make(ID, **arguments).unwrapped


def random_action(env, rng):
    if isinstance(env.action_space, gym.spaces.MultiDiscrete):
        return rng.integers(env.action_space.nvec)
    return int(rng.integers(env.action_space.n))


def rollout(env, seed, steps=60):
    rng = np.random.default_rng(1)
    observation, info = env.reset(seed=seed)
    log = [observation.copy(), np.array(info["window"])]
    for _ in range(steps):
        observation, reward, terminated, truncated, info = env.step(random_action(env, rng))
        log += [observation.copy(), np.array([reward, info["dt_s"]])]
        if terminated or truncated:
            observation, info = env.reset()
            log += [observation.copy(), np.array(info["window"])]
    return log


def finish(env, seed=0):
    """Play an episode at random; the sums of rewards and of ``dt_s``, the steps, and the outcomes told."""
    rng = np.random.default_rng(seed)
    total, elapsed_s, steps, outcomes, terminated = 0.0, 0.0, 0, [], False
    while not terminated:
        _, reward, terminated, _, info = env.step(random_action(env, rng))
        total += reward
        elapsed_s += info["dt_s"]
        steps += 1
        outcomes += info.get("outcomes", ())
    return total, elapsed_s, steps, outcomes


@pytest.mark.parametrize("per_tenant", [False, True])
def test_both_checkers_pass(per_tenant):
    pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.env_checker import check_env as sb3_check_env

    check_env(small_env(per_tenant=per_tenant), skip_render_check=True)
    sb3_check_env(small_env(per_tenant=per_tenant))


def test_make_without_arguments_uses_the_bundled_trace_and_its_default_cache():
    env = gym.make(ID).unwrapped
    observation, info = env.reset(seed=0)
    assert observation in env.observation_space
    assert env.action_space.n == len(env.cache.menu) == 14
    assert env.cache.objects == int(0.1 * env.trace.distinct_objects)
    assert info["window"][1] - info["window"][0] == 8192


def test_spaces():
    env, each = small_env(), small_env(per_tenant=True)
    assert env.action_space == gym.spaces.Discrete(4)
    assert each.action_space == gym.spaces.MultiDiscrete([4, 4, 4])
    assert env.observation_space.shape == (4 * 12 + 28,)
    assert each.observation_space.shape == (3 * (4 * 12 + 28),)
    for space in (env.observation_space, each.observation_space):
        assert np.isfinite(space.low).all()
        assert np.isfinite(space.high).all()
        assert (space.low < space.high).all()
    assert env.action_masks().tolist() == [True] * 4
    assert each.action_masks().tolist() == [True] * 12
    assert small_env(cache=variant(per_tenant=True)).action_space == each.action_space
    assert small_env(cache=variant(per_tenant=True), per_tenant=False).action_space == env.action_space
    assert small_env(trace=one_tenant(2000), per_tenant=True).action_space == gym.spaces.MultiDiscrete([4])


@pytest.mark.parametrize("per_tenant", [False, True])
def test_same_seed_same_rollout_and_other_seed_another(per_tenant):
    first, second, other = (rollout(small_env(per_tenant=per_tenant), seed) for seed in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=False))


def test_automatic_resets_move_through_the_trace():
    env = small_env(episode_accesses=50)
    env.reset(seed=0)
    windows = {env.reset()[1]["window"] for _ in range(20)}
    assert len(windows) > 10


def vector_rollout(envs, actions) -> list[np.ndarray]:
    seen = [envs.reset(seed=0)[0].copy()]
    for _ in range(20):
        observation, reward, *_ = envs.step(actions)
        seen += [observation.copy(), reward.copy()]
    envs.close()
    return seen


@pytest.mark.parametrize("per_tenant", [False, True])
def test_vector_environments_alike_in_this_process_and_in_spawned_ones(per_tenant):
    arguments = {"trace": TRACE, "cache": CACHE, "episode_accesses": 400, "per_tenant": per_tenant}
    spawned = gym.make_vec(ID, num_envs=2, vectorization_mode="async", vector_kwargs={"context": "spawn"}, **arguments)
    here = gym.make_vec(ID, num_envs=2, vectorization_mode="sync", **arguments)
    actions = np.array([[0, 1, 2], [3, 2, 3]]) if per_tenant else np.array([1, 3])
    pairs = list(zip(vector_rollout(here, actions), vector_rollout(spawned, actions), strict=True))
    assert pairs[0][0].shape == (2, *small_env(per_tenant=per_tenant).observation_space.shape)
    assert all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("per_tenant", [False, True])
def test_ppo_runs_on_it(per_tenant):
    sb3 = pytest.importorskip("stable_baselines3")
    env = small_env(per_tenant=per_tenant)
    model = sb3.PPO("MlpPolicy", env, n_steps=64, batch_size=32, n_epochs=1, seed=0, device="cpu").learn(256)
    observation, _ = env.reset(seed=0)
    terminated = False
    while not terminated:
        action, _ = model.predict(observation)
        assert action in env.action_space
        observation, _, terminated, _, _ = env.step(action)


KINDS = {
    "plain": ({}, {}),
    "weights": ({}, {"byte_weight": 0.7, "reward_accesses": 10.0}),
    "latency alone": ({}, {"byte_weight": 0.0}),
    "slow tier": ({"tier": TierConfig(latency_s=0.01, service_s=3e-3, bandwidth_bytes_per_s=1e7)}, {}),
    "demand first": ({"tier": TierConfig(service_s=8e-4, discipline="demand-first")}, {}),
    "closed": ({"demand": "closed", "window": 2}, {}),
    "by time": ({"every_accesses": None, "every_s": 0.03}, {}),
    "bytes": ({"objects": None, "size_bytes": 200 * 4096}, {}),
}


@pytest.mark.parametrize("per_tenant", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_rewards_add_up_to_the_result_columns(kind, per_tenant):
    changes, arguments = KINDS[kind]
    writes = np.random.default_rng(3).random(len(TRACE)) < 0.2
    sizes = np.random.default_rng(4).integers(1, 9, len(TRACE)) * 1024
    trace = TRACE.replace(is_write=writes, size_bytes=sizes)
    env = small_env(trace=trace, cache=variant(**changes), per_tenant=per_tenant, **arguments)
    env.reset(seed=2)
    total, elapsed_s, _, _ = finish(env)
    results = env.simulator.results()
    latency = results.access_s.sum() / env.cache.unloaded_miss_s
    moved = sum(results.fetch_bytes) / trace.size_bytes.mean()
    assert len(results.row) == 500
    assert np.isfinite(results.finish_s).all()
    assert results.fetch_bytes[1] > 0 < results.fetch_bytes[2]
    weight, scale = arguments.get("byte_weight", 0.1), arguments.get("reward_accesses", 64.0)
    assert -total == pytest.approx((latency + weight * moved) / scale, rel=1e-9)
    assert elapsed_s == pytest.approx(env.simulator.now_s)


def test_a_step_covers_so_many_accesses_and_every_decision_is_told_of():
    for per_tenant in (False, True):
        env = small_env(per_tenant=per_tenant)
        env.reset(seed=0)
        _, _, steps, outcomes = finish(env)
        assert steps == -(-500 // 32)
        told = [each.decision for each in outcomes]
        assert len(told) == len(set(told)) > (30 if per_tenant else 10)
        assert sum(each.accesses for each in outcomes) > 400


def test_the_environment_sees_and_does_what_the_simulators_own_loop_does():
    env = small_env(per_tenant=True)
    observation, info = env.reset(options={"window": (1000, 1500)})
    start = {"rows": (1000, 1500), "warm": info["warm_accesses"]}
    simulator = PrefetchSimulator(variant(per_tenant=True), TRACE, decide="policy", **start)
    observer = PrefetchObserver(simulator)
    rng = np.random.default_rng(0)
    point, terminated = simulator.advance(), False
    while not terminated:
        action = rng.integers(4, size=3)
        for tenant, seen in enumerate(observation.reshape(3, -1)):
            assert point.tenant == tenant
            assert np.array_equal(observer(point), seen)
            simulator.apply(int(action[tenant]))
            point = simulator.advance()
        observation, _, terminated, _, _ = env.step(action)
    assert point is None
    assert np.array_equal(simulator.results().finish_s, env.simulator.results().finish_s)


def test_a_tenant_without_accesses_in_the_window_is_all_zeros():
    tenant = np.repeat([0, 1], 500)
    trace = accesses(np.arange(1000), tenant=tenant, tenant_names=("early", "late"))
    env = small_env(trace=trace, per_tenant=True, split="all")
    observation, _ = env.reset(options={"window": (600, 900)})
    early, late = observation.reshape(2, -1)
    assert not early.any()
    assert late.any()
    _, reward, *_ = env.step(np.array([2, 0]))
    assert np.isfinite(reward)
    assert env.simulator.prefetches().issued == 0


def test_an_arm_makes_a_difference_and_a_good_one_pays():
    returns = {}
    for arm, label in enumerate(MENU):
        env = small_env(trace=accesses(np.arange(4000) * 5), byte_weight=0.0)
        env.reset(options={"window": (1000, 2000)})
        total, terminated = 0.0, False
        while not terminated:
            _, reward, terminated, _, _ = env.step(arm)
            total += reward
        returns[label] = total
    assert returns["stride:4"] > 0.2 * returns["none"]
    assert returns["next-line:8"] < returns["none"]


def test_the_cache_is_warm_at_the_start():
    cold, warm, far = small_env(warm_accesses=0), small_env(), small_env(warm_accesses=10**9)
    held = {}
    for name, env in (("cold", cold), ("warm", warm), ("far", far)):
        _, info = env.reset(options={"window": (2000, 2500)})
        held[name] = {key for key in TRACE.key.tolist() if key in env.simulator.engine.cache}
        held[name, "rows"] = info["warm_accesses"]
        assert info["dt_s"] == 0.0
    assert held["cold", "rows"] == 0
    assert not held["cold"]
    assert held["far", "rows"] == 2000
    assert held["warm", "rows"] < 2000
    assert held["warm"] == held["far"]
    assert len(held["warm"]) == 200


@pytest.mark.parametrize("size", [{"objects": 37}, {"objects": None, "size_bytes": 150_000}])
def test_rows_that_fill_leave_what_all_rows_before_leave(size):
    sizes = np.random.default_rng(0).integers(1, 20, 4000) * 512
    trace = TRACE.replace(size_bytes=sizes if "size_bytes" in size else TRACE.size_bytes)
    config = variant(**size)
    for start in (0, 1, 50, 700, 3000):
        few = rows_that_fill(trace, start, config)
        assert 0 <= few <= start
        contents = []
        for rows in (few, start):
            simulator = PrefetchSimulator(config, trace, decide="policy", rows=(start, 4000), warm=rows)
            contents.append({key for key in set(trace.key.tolist()) if key in simulator.engine.cache})
        if "objects" in size:
            assert contents[0] == contents[1]
        else:
            assert len(contents[0] & contents[1]) >= 0.8 * len(contents[1])


def test_evaluation_replays_the_whole_split_once():
    env = small_env(split="test", evaluate=True)
    _, info = env.reset(seed=0)
    start, stop = info["window"]
    assert stop == 4000
    assert start == env.windows.start > 2000
    finish(env)
    assert env.simulator.results().row.tolist() == list(range(start, stop))


def test_render_ansi_names_the_arms():
    env = gym.make(ID, trace=TRACE, cache=CACHE, per_tenant=True, episode_accesses=300, render_mode="ansi").unwrapped
    assert env.render() == "no episode is running"
    env.reset(seed=0)
    env.step(np.array([2, 0, 1]))
    lines = env.render().splitlines()
    assert all(name in line for name, line in zip(TENANTS, lines[::5], strict=True))
    assert [line.split()[1] for line in lines if line.startswith("*")] == ["next-line:8", "none", "obl:1"]


def test_a_user_mistake_is_a_clear_error():
    with pytest.raises(HandrailError, match="split"):
        small_env(split="everything")
    with pytest.raises(HandrailError, match="byte_weight"):
        small_env(byte_weight=-1.0)
    with pytest.raises(HandrailError, match="reward_accesses"):
        small_env(reward_accesses=0.0)
    with pytest.raises(HandrailError, match="warm_accesses"):
        small_env(warm_accesses=-1)
    with pytest.raises(HandrailError, match="window"):
        small_env().reset(options={"window": (5, 5)})
    with pytest.raises(HandrailError, match="colour"):
        small_env().reset(options={"colour": 1})
    with pytest.raises(HandrailError, match="reset"):
        small_env().step(0)
    env = small_env()
    env.reset(seed=0)
    with pytest.raises(HandrailError, match="arm 4"):
        env.step(4)
    env = small_env(per_tenant=True)
    env.reset(seed=0)
    with pytest.raises(HandrailError, match="each of 3 tenants"):
        env.step(1)


def play(trace, per_tenant, until):
    """What is seen, and what it paid, up to an access by a policy that takes the arm of the widest coverage."""
    env = CachePrefetchEnv(trace, CACHE, per_tenant=per_tenant)
    observation, _ = env.reset(seed=0, options={"window": (500, 4000)})
    seen, terminated = [], False
    while not terminated and env.simulator.accesses + 500 <= until:
        seen.append(observation)
        coverage = [env.layout.replica(each, "coverage") for each in observation.reshape(-1, env.layout.size)]
        action = np.array([int(np.argmax(each)) for each in coverage])
        observation, reward, terminated, _, _ = env.step(action if per_tenant else action[0])
        seen.append(np.array([reward]))
    return seen[:-1]


@pytest.mark.parametrize("per_tenant", [False, True])
def test_the_future_of_the_trace_is_not_seen(per_tenant):
    until = 2500
    later = np.arange(4000) >= until
    changed = TRACE.replace(
        key=np.where(later, TRACE.key[::-1], TRACE.key),
        arrival_s=np.where(later, TRACE.arrival_s + 1.0, TRACE.arrival_s),
        is_write=later,
    )
    before, after = play(TRACE, per_tenant, until), play(changed, per_tenant, until)
    assert len(before) == len(after) > 100
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
