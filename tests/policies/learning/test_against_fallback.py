"""Rewards against the fallback: 0 for its own decisions, and they sum to what the result columns say."""

from __future__ import annotations

import numpy as np
import pytest
from job_workload import CLUSTER, easy_choice, workload

from handrail.envs.cluster.environment import ClusterSchedulingEnv
from handrail.envs.cluster.simulator import ClusterSimulator
from handrail.policies.learning.against_fallback import SMALL_SLOWDOWN, SMALL_WAIT_S, AgainstFallback

JOBS = 80


def episode(choose, tail_weight: float, *, carry_over: bool = False, seed: int = 0):
    env = AgainstFallback(
        ClusterSchedulingEnv(
            workload(300, seed=4), CLUSTER, split="all", episode_jobs=JOBS, carry_over=carry_over, seed=seed
        ),
        CLUSTER,
        tail_weight,
    )
    observation, info = env.reset()
    rewards, done = [], False
    while not done:
        observation, reward, done, _, _ = env.step(choose(observation, env.action_masks()))
        rewards.append(reward)
    return env, rewards, info


def shortest_any(observation: np.ndarray, mask: np.ndarray) -> int:
    """The first job that fits, whoever it delays."""
    return int(mask.argmax())


@pytest.mark.parametrize("tail_weight", [0.0, 0.5])
def test_the_fallbacks_own_decisions_earn_nothing_at_any_time(tail_weight: float):
    _, rewards, _ = episode(lambda observation, _: easy_choice(observation), tail_weight)
    assert len(rewards) > JOBS
    np.testing.assert_allclose(np.cumsum(rewards), 0.0, atol=1e-9)


@pytest.mark.parametrize(("tail_weight", "carry_over"), [(0.0, False), (0.5, False), (0.5, True)])
def test_rewards_sum_to_the_relative_gain(tail_weight: float, carry_over: bool):
    env, rewards, info = episode(shortest_any, tail_weight, carry_over=carry_over, seed=3)
    simulator = env.unwrapped.simulator
    fallback = ClusterSimulator(CLUSTER, simulator.trace)
    fallback.advance()
    first = info.get("carried_over", 0)
    ours, theirs = (s.results() for s in (simulator, fallback))
    waits = [(r.start_s - r.arrival_s)[first:] for r in (ours, theirs)]
    per_s = 1.0 / np.maximum(ours.run_s[first:], 10.0)
    n = len(per_s)
    assert n == JOBS
    slowdown = (waits[1] - waits[0]) @ per_s / (waits[1] @ per_s + SMALL_SLOWDOWN * n)
    tail = (waits[1] @ waits[1] - waits[0] @ waits[0]) / (waits[1] @ waits[1] + SMALL_WAIT_S**2 * n)
    assert slowdown != 0.0
    assert sum(rewards) == pytest.approx(slowdown + tail_weight * tail, rel=1e-9)
