"""handrail/ClusterPlacement-v0: checkers, determinism, its observation, rewards that add up, nothing seen ahead."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from scheduling_samples import gpu_jobs, processor_jobs

import handrail.envs  # noqa: F401  (registers the environment)
from handrail.envs.cluster import ClusterConfig, ClusterSimulator, Faults, MachineGroup, MachineOutage
from handrail.envs.cluster.group_observer import GroupObserver
from handrail.envs.cluster.placement_environment import ClusterPlacementEnv
from handrail.traces import HandrailError, JobTrace

ID = "handrail.envs:handrail/ClusterPlacement-v0"
GROUPS = (
    MachineGroup(name="slow", machines=4, gpus=8, speed=0.5),
    MachineGroup(name="fast", machines=2, gpus=8, speed=2.0),
    MachineGroup(name="small", machines=6, gpus=2, speed=1.0, gpu_type="T4"),
)
CLUSTER = ClusterConfig(groups=GROUPS, backfill="easy", knowledge="predicted", wait_limit_s=3600.0)


def typed_jobs(n: int = 300) -> JobTrace:
    """Every third job runs on a T4 only."""
    trace = gpu_jobs(n, sizes=(1, 1, 2, 4))
    return trace.replace(gpu_types=np.where(np.arange(n) % 3 == 0, 1, 0), gpu_type_names=("T4",))


def small_env(**arguments) -> ClusterPlacementEnv:
    arguments = {"trace": gpu_jobs(), "cluster": CLUSTER, "episode_jobs": 50} | arguments
    return gym.make(ID, **arguments).unwrapped


def rollout(env, seed, steps=120):
    rng = np.random.default_rng(1)
    observation, info = env.reset(seed=seed)
    log = [observation.copy(), np.array(info["window"])]
    for _ in range(steps):
        action = int(rng.choice(np.flatnonzero(env.action_masks())))
        observation, reward, terminated, truncated, info = env.step(action)
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


def test_make_without_arguments_has_three_groups_at_a_load_of_08():
    env = gym.make(ID).unwrapped
    observation, _ = env.reset(seed=0)
    assert observation in env.observation_space
    groups = env.cluster.groups
    assert env.action_space.n == len(groups) == len({group.speed for group in groups}) == 3
    part = env.trace.take(np.arange(env.windows.start, env.windows.stop))
    capacity = sum(group.machines * group.gpus * group.speed for group in groups)
    assert 0.75 < part.area_s.sum() / part.duration_s / capacity <= 0.8


def test_same_seed_same_rollout_and_other_seed_another():
    first, second, other = rollout(small_env(), 3), rollout(small_env(), 3), rollout(small_env(), 4)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=False))


def test_vector_environments_alike_in_this_process_and_in_spawned_ones():
    def seen(kind, **vector):
        envs = gym.make_vec(
            ID, num_envs=2, vectorization_mode=kind, trace=gpu_jobs(), cluster=CLUSTER, episode_jobs=20, **vector
        )
        out = [envs.reset(seed=0)[0].copy()]
        for _ in range(40):
            observation, reward, *_ = envs.step(np.array([0, 2]))
            out += [observation.copy(), reward.copy()]
        envs.close()
        return out

    here, spawned = seen("sync"), seen("async", vector_kwargs={"context": "spawn"})
    assert all(np.array_equal(a, b) for a, b in zip(here, spawned, strict=True))


@pytest.mark.parametrize("reward", ["bounded_slowdown", "wait_tail", "jct"])
def test_rewards_add_up_to_the_result_columns(reward):
    env = small_env(reward=reward)
    _, info = env.reset(seed=0, options={"window": (100, 160)})
    rng, total, terminated = np.random.default_rng(0), 0.0, False
    while not terminated:
        _, step_reward, terminated, _, _ = env.step(int(rng.choice(np.flatnonzero(env.action_masks()))))
        total += step_reward
    results, first = env.simulator.results(), info["carried_over"]
    jct_s = (results.finish_s - results.arrival_s)[first:]
    cost = {
        "bounded_slowdown": np.maximum(jct_s / np.maximum(results.run_s[first:], 10.0), 1.0),
        "wait_tail": ((results.start_s - results.arrival_s)[first:] / 3600.0) ** 2,
        "jct": jct_s / 3600.0,
    }[reward]
    assert first > 0
    assert -total == pytest.approx(cost.mean(), rel=1e-9)


def test_the_observation_against_the_state():
    trace = typed_jobs()
    config = CLUSTER.model_copy(
        update={"faults": Faults(outages=(MachineOutage(machine=4, start_s=3000.0, end_s=9000.0),))}
    )
    simulator = ClusterSimulator(config, trace, decide="group")
    observer = GroupObserver(simulator)
    layout = observer.layout
    rng = np.random.default_rng(0)
    kept_out = crowded = 0
    point = simulator.advance()
    while point is not None:
        seen = observer(point)
        assert ((layout.low <= seen) & (seen <= layout.high)).all()
        row, now_s = point.item, point.now_s
        state, jobs = simulator.state, simulator.state.jobs
        used = np.zeros(3)
        running = np.zeros(3)
        for other, attempt in state.running.by_row.items():
            used[attempt.allocation[0]] += jobs.size[other]
            running[attempt.allocation[0]] += 1
        down = 3000.0 <= now_s < 9000.0
        whole = np.array([32.0, 16.0, 12.0])
        free = whole - used - np.array([0.0, 8.0 * down, 0.0])
        estimate_s = jobs.estimate_s[row]
        arrived = trace.arrival_s <= now_s
        ended = set(state.settled.rows()[:, 0].astype(int).tolist())
        waiting = [r for r in np.flatnonzero(arrived) if r not in state.running.by_row and r not in ended]
        work = jobs.estimate_s * jobs.size / 60.0
        expected_groups = {
            "up": point.action_mask,
            "size_share": whole / 60.0,
            "speed": [0.5, 2.0, 1.0],
            "expected_run_s": estimate_s / np.array([0.5, 2.0, 1.0]),
            "running_jobs": running,
            "type_match": [True, True, True] if trace.gpu_types[row] == 0 else [False, False, True],
            "fragmentation": [one.fragmentation() for one in simulator.pool.pools],
        }
        if not (down and used[1] > 8.0):  # while the machine is down, what its jobs held is not in use
            expected_groups |= {"gpus_free": free, "free_share": free / whole}
        weights = np.exp((trace.arrival_s[arrived] - now_s) / 21_600.0) / 21_600.0
        expected = {
            "job_size_share": trace.size[row] / 60.0,
            "job_size": trace.size[row],
            "tasks": 1.0,
            "estimate_s": estimate_s,
            "wait_s": now_s - trace.arrival_s[row],
            "overdue": float(now_s - trace.arrival_s[row] > 3600.0),
            "running_jobs": len(state.running),
            "waiting_jobs": len(waiting),
            "waiting_hours": work[waiting].sum() / 3600.0,
            "load_6h": (work[arrived] * weights).sum(),
            "down_share": down / 12.0,
            "cluster_size": 60.0,
        }
        for name, values in expected_groups.items():
            assert np.allclose(layout.replica(seen, name), np.asarray(values, dtype=float), rtol=1e-5), name
        for name, value in expected.items():
            assert layout.scalar(seen, name) == pytest.approx(value, rel=1e-5, abs=1e-6), name
        kept_out += trace.gpu_types[row]
        demand = jobs.demands[row]
        for group in np.flatnonzero(point.action_mask).tolist():
            allocation = simulator.pool.place_in_group(demand, group)
            again = simulator.pool.pools[group].fits(demand)
            simulator.pool.release(allocation)
            crowded += not again
            assert layout.replica(seen, "fits_after")[group] == again
        simulator.apply(int(rng.choice(np.flatnonzero(point.action_mask))))
        point = simulator.advance()
    assert kept_out > 50
    assert crowded > 10


def test_an_illegal_action_becomes_the_first_legal_one_at_a_penalty():
    env = small_env(trace=typed_jobs(), illegal_penalty=3.0, carry_over=False)
    env.reset(options={"window": (0, 40)})
    assert env.action_masks().tolist() == [False, False, True]
    _, legal_reward, *_, info = env.step(2)
    assert "illegal" not in info
    for action in (0, 7):
        env.reset(options={"window": (0, 40)})
        _, reward, *_, info = env.step(action)
        assert info["illegal"]
        assert reward == pytest.approx(legal_reward - 3.0)


def test_render_ansi_names_the_groups():
    env = gym.make(ID, trace=gpu_jobs(), cluster=CLUSTER, episode_jobs=20, render_mode="ansi").unwrapped
    env.reset(seed=0)
    assert env.render().count("group") == env.action_masks().sum()


def test_maskable_ppo_runs():
    sb3_contrib = pytest.importorskip("sb3_contrib")
    env = small_env()
    model = sb3_contrib.MaskablePPO("MlpPolicy", env, n_steps=256, batch_size=128, n_epochs=1, seed=0, device="cpu")
    model.learn(256)
    action, _ = model.predict(env.reset(seed=0)[0], action_masks=env.action_masks())
    assert 0 <= int(action) < 3


def test_a_user_mistake_is_a_clear_error():
    with pytest.raises(HandrailError, match="ask for no GPUs"):
        ClusterPlacementEnv(processor_jobs())
    with pytest.raises(HandrailError, match="needs a cluster with groups"):
        small_env(cluster=ClusterConfig(processors=64))


def play(trace: JobTrace, until_s: float) -> tuple[list[np.ndarray], ClusterSimulator]:
    """What is seen before ``until_s`` by a policy that takes the fastest group."""
    env = ClusterPlacementEnv(trace, CLUSTER)
    observation, _ = env.reset(seed=0, options={"window": (0, 300)})
    seen, terminated = [], False
    while not terminated and env.simulator.now_s < until_s:
        seen.append(observation)
        speed = env.layout.replica(observation, "speed") * env.action_masks()
        observation, _, terminated, _, _ = env.step(int(np.argmax(speed)))
    return seen, env.simulator


def test_neither_the_future_nor_run_times_are_seen():
    trace, until_s = gpu_jobs(), 9000.0
    later = trace.arrival_s - trace.arrival_s[0] > until_s
    changed = trace.replace(run_s=np.where(later, 5.0, trace.run_s), gpu_milli=np.where(later, 8000, trace.gpu_milli))
    before, after = play(trace, until_s)[0], play(changed, until_s)[0]
    assert len(before) == len(after) > 80
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))

    longest = int(np.argmax(trace.run_s[:60]))
    run_s = trace.run_s.copy()
    run_s[longest] += 50_000.0
    end_s = float(play(trace, np.inf)[1].results().finish_s[longest])
    before, after = play(trace, end_s)[0], play(trace.replace(run_s=run_s), end_s)[0]
    assert len(before) == len(after) > longest + 20
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
