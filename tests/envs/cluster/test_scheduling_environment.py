"""handrail/ClusterScheduling-v0: both checkers, determinism, vector forms, rewards that add up, nothing seen ahead."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from scheduling_samples import gpu_jobs, processor_jobs

import handrail.envs  # noqa: F401  (registers the environment)
from handrail.envs.cluster import FINISHED, ClusterConfig, ClusterSimulator, Faults, MachineGroup, MachineOutage
from handrail.envs.cluster.environment import ClusterSchedulingEnv
from handrail.traces import HandrailError, JobTrace

ID = "handrail.envs:handrail/ClusterScheduling-v0"
SERVERS = ClusterConfig(
    groups=(MachineGroup(machines=4, gpus=8),), discipline="sjf", knowledge="predicted", wait_limit_s=3600.0, window=8
)


def small_env(**arguments) -> ClusterSchedulingEnv:
    arguments = {"trace": gpu_jobs(), "cluster": SERVERS, "episode_jobs": 50} | arguments
    return gym.make(ID, **arguments).unwrapped


def random_action(env, rng) -> int:
    return int(rng.choice(np.flatnonzero(env.action_masks())))


def rollout(env, seed, steps=150):
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


def finish(env, seed=0) -> tuple[float, float]:
    """Play an episode at random; the sums of rewards and of ``dt_s``."""
    rng = np.random.default_rng(seed)
    total, elapsed_s, terminated = 0.0, 0.0, False
    while not terminated:
        _, reward, terminated, _, info = env.step(random_action(env, rng))
        total += reward
        elapsed_s += info["dt_s"]
    return total, elapsed_s


def test_both_checkers_pass():
    pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.env_checker import check_env as sb3_check_env

    check_env(small_env(), skip_render_check=True)
    sb3_check_env(small_env())


def test_make_without_arguments_uses_the_bundled_trace_at_a_load_of_08():
    env = gym.make(ID).unwrapped
    observation, _ = env.reset(seed=0)
    assert observation in env.observation_space
    assert env.action_space.n == 33
    part = env.trace.take(np.arange(env.windows.start, env.windows.stop))
    offered = part.area_s.sum() / part.duration_s / env.cluster.size
    assert 0.8 - 8 / env.cluster.size < offered <= 0.8


def test_the_default_cluster_of_a_processor_trace_is_what_its_file_says():
    env = ClusterSchedulingEnv(processor_jobs(), episode_jobs=20)
    assert (env.cluster.processors, env.cluster.knowledge, env.cluster.discipline) == (64, "user_estimate", "sjf")
    with pytest.raises(HandrailError, match="how many processors"):
        ClusterSchedulingEnv(processor_jobs().replace(processors=None))


def test_bounds_are_finite():
    space = small_env().observation_space
    assert np.isfinite(space.low).all()
    assert np.isfinite(space.high).all()
    assert (space.low < space.high).all()


def test_same_seed_same_rollout_and_other_seed_another():
    first, second, other = rollout(small_env(), 3), rollout(small_env(), 3), rollout(small_env(), 4)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=False))


def test_faults_are_drawn_anew_each_episode_and_alike_from_one_seed():
    faulty = SERVERS.model_copy(update={"faults": Faults(straggler_probability=0.5)})
    window = {"window": (0, 40)}

    def returns(env):
        env.reset(seed=5)
        found = []
        for _ in range(3):
            env.reset(options=window)
            found.append(finish(env)[0])
        return found

    first, second = returns(small_env(cluster=faulty)), returns(small_env(cluster=faulty))
    assert first == second
    assert len(set(first)) == 3


def test_automatic_resets_move_through_the_trace():
    env = small_env(episode_jobs=10)
    env.reset(seed=0)
    windows = {env.reset()[1]["window"] for _ in range(20)}
    assert len(windows) > 10


def vector_rollout(envs) -> list[np.ndarray]:
    seen = [envs.reset(seed=0)[0].copy()]
    for _ in range(40):
        observation, reward, *_ = envs.step(np.array([0, 8]))
        seen += [observation.copy(), reward.copy()]
    envs.close()
    return seen


def test_vector_environments_alike_in_this_process_and_in_spawned_ones():
    arguments = {"trace": gpu_jobs(), "cluster": SERVERS, "episode_jobs": 20}
    spawned = gym.make_vec(ID, num_envs=2, vectorization_mode="async", vector_kwargs={"context": "spawn"}, **arguments)
    here = gym.make_vec(ID, num_envs=2, vectorization_mode="sync", **arguments)
    pairs = list(zip(vector_rollout(here), vector_rollout(spawned), strict=True))
    assert pairs[0][0].shape == (2, small_env().layout.size)
    assert all(np.array_equal(a, b) for a, b in pairs)


def _env() -> ClusterSchedulingEnv:
    return ClusterSchedulingEnv(gpu_jobs(), SERVERS, episode_jobs=20)


def test_a_stable_baselines_vector_environment():
    vec_env = pytest.importorskip("stable_baselines3.common.vec_env")
    envs = vec_env.DummyVecEnv([_env, _env])
    envs.seed(0)
    envs.reset()
    for _ in range(45):
        observation, reward, *_ = envs.step(np.array([0, 3]))
    assert observation.shape == (2, small_env().layout.size)
    assert np.isfinite(observation).all()
    assert np.isfinite(reward).all()


def test_maskable_ppo_runs_and_acts_legally():
    sb3_contrib = pytest.importorskip("sb3_contrib")
    env = small_env()
    model = sb3_contrib.MaskablePPO(
        "MlpPolicy", env, n_steps=500, batch_size=250, n_epochs=1, seed=0, device="cpu"
    ).learn(2000)
    observation, _ = env.reset(seed=0)
    terminated = False
    while not terminated:
        masks = env.action_masks()
        action, _ = model.predict(observation, action_masks=masks)
        assert masks[int(action)]
        observation, _, terminated, _, info = env.step(action)
        assert "illegal" not in info


def mean_cost(env, reward: str, first: int = 0) -> float:
    """What an episode's rewards are to add up to, from the result columns."""
    results = env.simulator.results()
    jct_s = (results.finish_s - results.arrival_s)[first:]
    if reward == "bounded_slowdown":
        return np.maximum(jct_s / np.maximum(results.run_s[first:], 10.0), 1.0).mean()
    if reward == "wait_tail":
        return (((jct_s - results.service_s[first:]) / 3600.0) ** 2).mean()
    return jct_s.mean() / 3600.0


UNEVEN = ClusterConfig(
    groups=(MachineGroup(machines=3, gpus=8, speed=0.5), MachineGroup(name="fast", machines=2, gpus=8, speed=3.0)),
    discipline="sjf",
    knowledge="predicted",
    window=16,
    faults=Faults(
        outages=(MachineOutage(machine=1, start_s=500.0, end_s=4000.0),),
        machine_mtbf_s=20_000.0,
        job_failure_probability=0.2,
        max_attempts=2,
        checkpoint_s=600.0,
        straggler_probability=0.2,
    ),
)


@pytest.mark.parametrize("reward", ["bounded_slowdown", "wait_tail", "jct"])
@pytest.mark.parametrize("kind", ["processors", "killed", "machines", "faults", "rlscheduler"])
def test_rewards_add_up_to_the_result_columns(reward, kind):
    trace, cluster = gpu_jobs(), SERVERS
    if kind == "faults":
        cluster = UNEVEN
    elif kind != "machines":
        trace = processor_jobs()
        reference = {"protocol": "rlscheduler", "discipline": "fcfs"} if kind == "rlscheduler" else {}
        cluster = ClusterConfig(processors=48, kill_at_limit=kind == "killed", **reference)
    env = ClusterSchedulingEnv(trace, cluster, episode_jobs=60, reward=reward, carry_over=False)
    _, info = env.reset(seed=2)
    total, elapsed_s = finish(env)
    results = env.simulator.results()
    assert info["carried_over"] == 0
    assert elapsed_s == pytest.approx(results.end_s)
    assert (results.finish_s - results.start_s > results.run_s + 1.0).any() == (kind == "faults")
    assert (results.status != FINISHED).any() == (kind in ("killed", "faults"))
    assert -total == pytest.approx(mean_cost(env, reward), rel=1e-9)


@pytest.mark.parametrize("reward", ["bounded_slowdown", "wait_tail", "jct"])
def test_carried_over_jobs_cost_nothing(reward):
    env = small_env(reward=reward)
    _, info = env.reset(seed=1, options={"window": (100, 150)})
    total, _ = finish(env)
    assert info["carried_over"] > 3
    assert -total == pytest.approx(mean_cost(env, reward, info["carried_over"]), rel=1e-9)


def test_what_is_carried_over_is_what_would_still_run():
    trace = gpu_jobs()
    env = small_env(cluster=SERVERS.model_copy(update={"groups": (MachineGroup(machines=500, gpus=8),)}))
    env.reset(options={"window": (200, 250)})
    at_s = trace.arrival_s[200]
    inside = np.flatnonzero(trace.arrival_s[:200] + trace.run_s[:200] > at_s)
    state = env.simulator.state
    episode = env.simulator.trace
    assert len(episode) == len(inside) + 50
    ended = [row for row in range(len(inside)) if row not in state.running.by_row]
    left_s = trace.arrival_s[inside] + trace.run_s[inside] - at_s
    assert (left_s[ended] <= 1.0).all()  # within the second before the window's first job
    assert np.allclose(episode.run_s[: len(inside)], left_s)
    assert episode.arrival_s[len(inside)] == 1.0
    assert episode.arrival_s[-1] + episode.origin_s == pytest.approx(trace.arrival_s[249] + trace.origin_s)


def test_predictions_start_out_from_what_ended_before():
    trace = gpu_jobs()
    trace = trace.replace(run_s=np.where(trace.gpu_milli == 8000, 2.0, trace.run_s))
    first = {}
    for carry_over in (True, False):
        env = small_env(trace=trace, carry_over=carry_over)
        env.reset(options={"window": (200, 250)})
        jobs = env.simulator.state.jobs
        first[carry_over] = jobs.predictor.predict(int(jobs.tenant[np.flatnonzero(jobs.size == 8.0)[0]]), 8.0)
    assert first[True] == pytest.approx(2.0)
    assert first[False] == 3600.0


def test_evaluation_replays_the_whole_split_once():
    env = small_env(split="test", evaluate=True)
    _, info = env.reset(seed=0)
    start, stop = info["window"]
    assert stop == 300
    assert start == env.windows.start > 150
    finish(env)
    assert (env.simulator.results().status == FINISHED).all()
    assert len(env.simulator.trace) == stop - start + info["carried_over"]


def test_an_illegal_action_becomes_the_first_legal_one_at_a_penalty():
    env = small_env(illegal_penalty=7.0)
    for action in (5, 99, -1):
        env.reset(seed=0, options={"window": (0, 40)})
        legal = int(np.argmax(env.action_masks()))
        assert not env.action_masks()[5]
        _, legal_reward, *_, info = env.step(legal)
        assert "illegal" not in info
        env.reset(seed=0, options={"window": (0, 40)})
        _, reward, *_, info = env.step(action)
        assert info["illegal"]
        assert reward == pytest.approx(legal_reward - 7.0)


def test_waiting_is_masked_where_nothing_runs_and_nothing_is_to_come():
    env = small_env(carry_over=False)
    env.reset(options={"window": (0, 1)})
    assert env.action_masks().tolist() == [True] + [False] * 8
    env.reset(options={"window": (0, 2)})
    assert env.action_masks()[-1]


def test_under_the_reference_protocol_the_chosen_job_is_committed():
    trace = processor_jobs()
    config = ClusterConfig(processors=40, protocol="rlscheduler", backfill="reference", discipline="fcfs", window=128)
    env = ClusterSchedulingEnv(trace, config, episode_jobs=128)
    observation, info = env.reset(options={"window": (100, 228)})
    assert info["carried_over"] == 0
    terminated, blocked = False, 0
    while not terminated:
        waiting = env.layout.replica(observation, "size_share") > 0
        assert np.array_equal(env.action_masks(), waiting)  # whatever waits may be chosen, waiting may not
        submit_s = env.layout.replica(observation, "submit_s")[waiting]
        assert (np.diff(submit_s) >= 0).all()
        estimate_s = np.where(waiting, env.layout.replica(observation, "estimate_s"), np.inf)
        blocked += env.layout.replica(observation, "fits")[estimate_s.argmin()] == 0
        observation, _, terminated, _, _ = env.step(int(estimate_s.argmin()))
    native = ClusterSimulator(config.model_copy(update={"discipline": "sjf"}), trace.rows(100, 128))
    native.advance()
    assert blocked > 10
    assert np.array_equal(env.simulator.results().start_s, native.results().start_s)


def test_render_ansi_names_the_legal_choices():
    env = gym.make(ID, trace=gpu_jobs(), cluster=SERVERS, episode_jobs=20, render_mode="ansi").unwrapped
    assert env.render() == "no episode is running"
    env.reset(seed=0)
    assert env.render().count("slot") == env.action_masks().sum()


def test_a_user_mistake_is_a_clear_error():
    with pytest.raises(HandrailError, match="split"):
        small_env(split="everything")
    with pytest.raises(HandrailError, match="reward 'fast' is none of bounded_slowdown, wait_tail, jct"):
        small_env(reward="fast")
    with pytest.raises(HandrailError, match="illegal_penalty"):
        small_env(illegal_penalty=-1.0)
    with pytest.raises(HandrailError, match="window"):
        small_env().reset(options={"window": (5, 5)})
    with pytest.raises(HandrailError, match="colour"):
        small_env().reset(options={"colour": 1})
    with pytest.raises(HandrailError, match="reset"):
        small_env().step(0)
    with pytest.raises(HandrailError, match="no job of the window"):
        small_env(trace=gpu_jobs(sizes=(64,))).reset()


def play(trace: JobTrace, config: ClusterConfig, until_s: float) -> tuple[list[np.ndarray], ClusterSimulator]:
    """What is seen before ``until_s`` by a policy that starts the first job that does not delay the head, and waits
    where there is none."""
    env = ClusterSchedulingEnv(trace, config)
    observation, _ = env.reset(seed=0, options={"window": (0, 300)})
    seen, terminated = [], False
    while not terminated and env.simulator.now_s < until_s:
        seen.append(observation)
        mask = env.action_masks() & (env.layout.replica(observation, "head_delay_s") == 0)
        observation, _, terminated, _, _ = env.step(int(np.argmax(mask)))
    return seen, env.simulator


def test_the_future_of_the_trace_is_not_seen():
    trace, until_s = gpu_jobs(), 9000.0
    later = trace.arrival_s - trace.arrival_s[0] > until_s
    changed = trace.replace(
        run_s=np.where(later, 5.0, trace.run_s),
        gpu_milli=np.where(later, 8000, trace.gpu_milli),
        tenant=np.where(later, 0, trace.tenant),
    )
    before, after = play(trace, SERVERS, until_s)[0], play(changed, SERVERS, until_s)[0]
    assert len(before) == len(after) > 80
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("knowledge", ["none", "predicted", "user_estimate"])
def test_the_run_time_of_a_running_job_is_not_seen(knowledge):
    trace = gpu_jobs()
    if knowledge == "user_estimate":
        trace = trace.replace(estimate_s=np.full(300, 1000.0))
    discipline = "fcfs" if knowledge == "none" else "sjf"
    config = SERVERS.model_copy(update={"knowledge": knowledge, "discipline": discipline})
    longest = int(np.argmax(trace.run_s[:60]))
    run_s = trace.run_s.copy()
    run_s[longest] += 50_000.0
    # Until the job would have ended, nothing tells that it is longer.
    end_s = float(play(trace, config, np.inf)[1].results().finish_s[longest])
    before, after = play(trace, config, end_s)[0], play(trace.replace(run_s=run_s), config, end_s)[0]
    assert len(before) == len(after) > longest + 20
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
