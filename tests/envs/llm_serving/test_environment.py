"""The Gymnasium environment: both checkers, determinism, vector forms, rewards that add up, nothing seen ahead."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import handrail.envs  # noqa: F401  (registers the environment)
from handrail.envs.llm_serving import FleetConfig, LatencyModel, Outage, ReplicaConfig
from handrail.envs.llm_serving.environment import LLMRoutingEnv
from handrail.traces import HandrailError, RequestTrace

ID = "handrail.envs:handrail/LLMRouting-v0"


def small_trace(n: int = 400, seed: int = 0, rate: float = 20.0) -> RequestTrace:
    rng = np.random.default_rng(seed)
    return RequestTrace(
        arrival_s=np.cumsum(rng.exponential(1 / rate, n)),
        prompt_tokens=rng.integers(10, 3000, n),
        output_tokens=rng.geometric(1 / 80, n),
    )


def small_env(**arguments) -> LLMRoutingEnv:
    arguments = {"trace": small_trace(), "episode_requests": 50} | arguments
    return gym.make(ID, **arguments).unwrapped


def rollout(env, seed, steps=120):
    rng = np.random.default_rng(1)
    observation, info = env.reset(seed=seed)
    log = [observation.copy(), np.array(info["window"])]
    for _ in range(steps):
        observation, reward, terminated, truncated, info = env.step(int(rng.integers(env.action_space.n)))
        log += [observation.copy(), np.array([reward, info["dt_s"]])]
        if terminated or truncated:
            observation, info = env.reset()
            log += [observation.copy(), np.array(info["window"])]
    return log


def test_both_checkers_pass():
    pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.env_checker import check_env as sb3_check_env

    check_env(small_env(), skip_render_check=True)
    sb3_check_env(small_env())


def test_make_without_arguments_uses_the_bundled_trace():
    env = gym.make(ID)
    observation, _ = env.reset(seed=0)
    assert observation in env.observation_space
    assert env.action_space.n == 4


def test_bounds_are_finite():
    space = small_env().observation_space
    assert np.isfinite(space.low).all()
    assert np.isfinite(space.high).all()
    assert (space.low < space.high).all()


def test_same_seed_same_rollout_and_other_seed_another():
    first, second, other = rollout(small_env(), 3), rollout(small_env(), 3), rollout(small_env(), 4)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=False))


def test_automatic_resets_move_through_the_trace():
    env = small_env(episode_requests=10)
    env.reset(seed=0)
    windows = {env.reset()[1]["window"] for _ in range(20)}
    assert len(windows) > 10


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_vector_environments(kind):
    envs = gym.make_vec(ID, num_envs=2, vectorization_mode=kind, trace=small_trace(), episode_requests=20)
    try:
        observation, _ = envs.reset(seed=0)
        for _ in range(45):
            observation, reward, *_ = envs.step(np.array([0, 1]))
        assert observation.shape == (2, small_env().layout.size)
        assert np.isfinite(reward).all()
    finally:
        envs.close()


def _sb3_env():
    return LLMRoutingEnv(small_trace(), episode_requests=20)


@pytest.mark.parametrize("kind", ["DummyVecEnv", "SubprocVecEnv"])
def test_stable_baselines_vector_environments(kind):
    vec_env = pytest.importorskip("stable_baselines3.common.vec_env")
    envs = getattr(vec_env, kind)([_sb3_env, _sb3_env])
    try:
        envs.seed(0)
        envs.reset()
        for _ in range(45):
            observation, reward, *_ = envs.step(np.array([0, 3]))
        assert np.isfinite(observation).all()
        assert np.isfinite(reward).all()
    finally:
        envs.close()


def test_ppo_learns_as_it_stands():
    ppo = pytest.importorskip("stable_baselines3").PPO
    model = ppo("MlpPolicy", small_env(), n_steps=64, batch_size=32, n_epochs=1, seed=0, device="cpu").learn(128)
    action, _ = model.predict(small_env().reset(seed=0)[0])
    assert 0 <= int(action) < 4


def test_rewards_add_up_to_ttft_and_e2e():
    env = small_env(ttft_weight=1.0, e2e_weight=0.25, cost_scale_s=2.0)
    observation, _ = env.reset(seed=0)
    total, elapsed_s, terminated = 0.0, 0.0, False
    while not terminated:
        action = int(np.argmin(env.layout.replica(observation, "inflight")))
        observation, reward, terminated, _, info = env.step(action)
        total += reward
        elapsed_s += info["dt_s"]
    results = env.simulator.results()
    ttft_s = results.first_token_s - results.arrival_s
    e2e_s = results.finish_s - results.arrival_s
    assert -total * 2.0 == pytest.approx(ttft_s.sum() + 0.25 * e2e_s.sum(), rel=1e-9)
    assert elapsed_s == pytest.approx(results.end_s)


def test_evaluation_replays_the_whole_split_once():
    env = small_env(split="test", evaluate=True)
    _, info = env.reset(seed=0)
    start, stop = info["window"]
    assert stop == 400
    steps, terminated = 0, False
    while not terminated:
        _, _, terminated, _, _ = env.step(0)
        steps += 1
    assert steps == stop - start


def fleet_with_an_outage() -> FleetConfig:
    replica = ReplicaConfig(latency=LatencyModel.constant(0.01), kv_capacity_tokens=100_000)
    return FleetConfig(replicas=(replica, replica), outages=(Outage(replica=0, down_s=0.0, up_s=1e6),))


def test_an_illegal_action_goes_to_the_first_legal_replica_at_a_penalty():
    env = small_env(fleet=fleet_with_an_outage(), illegal_penalty=7.0)
    env.reset(seed=0)
    assert env.action_masks().tolist() == [False, True]
    _, legal_reward, *_, info = env.step(1)
    assert "illegal" not in info
    env.reset(seed=0)
    _, reward, *_, info = env.step(0)
    assert info["illegal"]
    assert reward == pytest.approx(legal_reward - 7.0)


def test_render_ansi_names_the_replicas():
    env = gym.make(ID, trace=small_trace(), episode_requests=20, render_mode="ansi").unwrapped
    env.reset(seed=0)
    assert env.render().count("replica") == 4


def test_a_user_mistake_is_a_clear_error():
    with pytest.raises(HandrailError, match="split"):
        small_env(split="everything")
    with pytest.raises(HandrailError, match="rate_factor"):
        small_env(rate_factor=-1.0)
    with pytest.raises(HandrailError, match="window"):
        small_env().reset(options={"window": (5, 5)})
    with pytest.raises(HandrailError, match="colour"):
        small_env().reset(options={"colour": 1})


def observations(trace: RequestTrace, until_s: float) -> list[np.ndarray]:
    env = LLMRoutingEnv(trace, split="all", evaluate=True)
    observation, _ = env.reset(seed=0)
    seen, terminated = [], False
    while not terminated and env.simulator.now_s < until_s:
        seen.append(observation)
        observation, _, terminated, _, _ = env.step(int(np.argmin(env.layout.replica(observation, "drain_s"))))
    return seen


def test_the_future_of_the_trace_is_not_seen():
    trace, until_s = small_trace(), 8.0
    later = trace.arrival_s - trace.arrival_s[0] > until_s  # an episode starts with its first request
    changed = trace.replace(
        prompt_tokens=np.where(later, 5, trace.prompt_tokens), output_tokens=np.where(later, 9, trace.output_tokens)
    )
    before, after = observations(trace, until_s), observations(changed, until_s)
    assert len(before) == len(after) > 50
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_the_output_length_of_a_request_in_flight_is_not_seen():
    trace = small_trace()
    longest = int(np.argmax(trace.output_tokens[:50]))
    outputs = trace.output_tokens.copy()
    outputs[longest] += 5_000
    # Until the request would have ended, nothing tells that it is longer.
    env = LLMRoutingEnv(trace, split="all", evaluate=True)
    env.reset(seed=0)
    terminated = False
    while not terminated:
        _, _, terminated, _, _ = env.step(0)
    until_s = float(env.simulator.results().finish_s[longest])
    route_all = [_observe_all_to_zero(t, until_s) for t in (trace, trace.replace(output_tokens=outputs))]
    assert len(route_all[0]) > longest + 5
    assert all(np.array_equal(a, b) for a, b in zip(*route_all, strict=True))


def _observe_all_to_zero(trace: RequestTrace, until_s: float) -> list[np.ndarray]:
    env = LLMRoutingEnv(trace, split="all", evaluate=True)
    observation, _ = env.reset(seed=0)
    seen, terminated = [], False
    while not terminated and env.simulator.now_s <= until_s:
        seen.append(observation)
        observation, _, terminated, _, _ = env.step(0)
    return seen
