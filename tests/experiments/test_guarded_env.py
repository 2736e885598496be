"""Environments behind a guard: what they execute, what they tell, and that they are what a replay is."""

from __future__ import annotations

import pickle
import warnings
from importlib.util import find_spec
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from handrail.envs.cluster.default_cluster import default_cluster
from handrail.envs.cluster.environment import ClusterSchedulingEnv
from handrail.envs.llm_serving.environment import LLMRoutingEnv
from handrail.envs.prefetch.environment import CachePrefetchEnv
from handrail.experiments.domains import domain_of
from handrail.experiments.guarded_env import GuardedEnv
from handrail.experiments.judged_env import JudgedEnv, system_of
from handrail.experiments.replay import replay
from handrail.policies.guards import ContractConfig, GuardConfig, GuardedPolicy, build_guard
from handrail.policies.guards.checks import TwinConfig
from handrail.traces import load_access_trace, load_job_trace
from handrail.traces.errors import HandrailError

IDS = {
    "llm": ("handrail/LLMRouting-v0", {"episode_requests": 200}),
    "cluster": ("handrail/ClusterScheduling-v0", {"episode_jobs": 60}),
    "prefetch": ("handrail/CachePrefetch-v0", {"episode_accesses": 1500}),
}


class Last:
    """Always the last choice: a replica, no job at all, the arm at the end of the menu."""

    def __init__(self, layout) -> None:
        self._choice = layout.n_replicas - 1

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        return self._choice, state


def make(domain: str, **changes: object) -> gym.Env:
    env_id, arguments = IDS[domain]
    return gym.make(f"handrail.envs:{env_id}", **{**arguments, **changes})


def whole(domain: str) -> gym.Env:
    """One episode over all of a trace that keeps the domain's system busy."""
    if domain == "llm":
        return LLMRoutingEnv(rate_factor=5.0, split="validation", evaluate=True)
    if domain == "cluster":
        trace = load_job_trace("bundled-cluster").head(600)
        cluster = default_cluster(trace)
        return ClusterSchedulingEnv(trace.scale_rate(3.0), cluster, split="all", evaluate=True, carry_over=False)
    return CachePrefetchEnv(load_access_trace("bundled-cache").head(4000), split="all", evaluate=True)


def legal(env: gym.Env, rng: np.random.Generator) -> int:
    return int(rng.choice(np.flatnonzero(env.unwrapped.action_masks())))


def run_episode(env: gym.Env, seed: int = 0, **options: object) -> tuple[list[dict], list[float]]:
    rng = np.random.default_rng(seed)
    env.reset(seed=seed, **options)
    infos, rewards, ended = [], [], False
    while not ended:
        _, reward, ended, _, info = env.step(legal(env, rng))
        infos.append(info)
        rewards.append(reward)
    return infos, rewards


@pytest.mark.parametrize("domain", IDS)
def test_gymnasium_accepts_it_and_makes_it_again_from_its_spec(domain: str):
    env = GuardedEnv(make(domain))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_env(env, skip_render_check=True)
    again = gym.make(env.spec)
    assert isinstance(again, GuardedEnv)
    assert (again.guard, again.fallback, again.objective) == (env.guard, env.fallback, env.objective)
    from_text = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    first, second, third = (run_episode(each) for each in (env, again, from_text))
    for (infos, rewards), other in ((second, env), (third, env)):
        assert rewards == first[1]
        assert [i["executed"] for i in infos] == [i["executed"] for i in first[0]]
        assert other.session.policy.recorder.log_hash() == env.session.policy.recorder.log_hash()


@pytest.mark.parametrize("domain", IDS)
def test_a_pickled_copy_in_mid_episode_steps_as_the_original(domain: str):
    env = GuardedEnv(make(domain))
    env.reset(seed=0)
    for _ in range(5):
        env.step(legal(env, np.random.default_rng(0)))
    copied = pickle.loads(pickle.dumps(env))
    rng = np.random.default_rng(1)
    for _ in range(20):
        action = legal(env, rng)
        (seen, *rest), (seen_too, *rest_too) = env.step(action), copied.step(action)
        np.testing.assert_array_equal(seen, seen_too)
        assert rest == rest_too
        if rest[1]:
            break
    assert copied.session.policy.recorder.log_hash() == env.session.policy.recorder.log_hash()


@pytest.mark.skipif(not find_spec("stable_baselines3"), reason="needs Stable-Baselines3")
@pytest.mark.parametrize("domain", IDS)
def test_stable_baselines_accepts_it(domain: str):
    from stable_baselines3.common.env_checker import check_env as sb3_check

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sb3_check(GuardedEnv(make(domain)), skip_render_check=True)


@pytest.mark.skipif(not find_spec("cloudpickle"), reason="needs cloudpickle")
def test_it_can_be_pickled():
    import cloudpickle

    env = GuardedEnv(make("llm"), guard=GuardConfig.for_routing())
    for pickler in (pickle, cloudpickle):
        copy = pickler.loads(pickler.dumps(env))
        assert copy.guard == env.guard
        assert run_episode(copy)[1] == run_episode(env)[1]


@pytest.mark.parametrize("domain", IDS)
def test_it_decides_as_a_replay_behind_the_same_guard(domain: str):
    """The actions of a bad policy, handed in from outside, give the replay's decision log."""
    env = GuardedEnv(whole(domain))
    observation, _ = env.reset(seed=0)
    system, trace = system_of(env), env.unwrapped.simulator.trace
    made: list[GuardedPolicy] = []

    def behind_guard(layout):
        fallback = domain_of(system).make_heuristic(env.fallback, system)
        made.append(GuardedPolicy(Last(layout), fallback, build_guard(env.guard, layout), layout))
        return made[0]

    replayed = replay(system, trace, behind_guard, env.objective)
    bad = Last(env.unwrapped.layout)
    executed, ended = [], False
    while not ended:
        action, _ = bad.predict(observation)
        observation, _, ended, _, info = env.step(action)
        executed.append(info["executed"])
        assert info["proposed"] == int(action)
        assert info["intervened"] == (info["executed"] != info["proposed"])
    assert executed == replayed.decisions.action.tolist()
    assert env.session.policy.recorder.log_hash() == made[0].recorder.log_hash()
    assert made[0].interventions
    assert (made[0].recorder.column("proposed") != np.array(executed)).any()


def test_cost_counts_every_missed_objective_of_the_episode_once():
    """A slow fleet misses many; each request counts exactly once, those that only the end reveals included."""
    env = JudgedEnv(LLMRoutingEnv(fleet="a100:2", rate_factor=90.0, episode_requests=300))
    infos, _ = run_episode(env)
    results = env.unwrapped.simulator.results()
    objective = env.objective
    tokens = results.output_tokens
    ttft_s = results.first_token_s - results.arrival_s
    tpot_s = np.where(tokens > 1, (results.finish_s - results.first_token_s) / np.maximum(tokens - 1, 1), 0.0)
    missed = ~((ttft_s <= objective.slo_ttft_s) & (tpot_s <= objective.slo_tbt_s))
    assert missed.sum() > 10
    assert sum(info["judged"] for info in infos) == 300
    assert sum(info["cost"] for info in infos) == missed.sum()
    assert infos[-1]["judged"] > 0


def test_the_guard_holds_back_an_agent_that_chooses_the_worst():
    """Fewer misses behind the guard than without it, on the same windows."""
    plain, guarded = JudgedEnv(make("llm", rate_factor=70.0)), GuardedEnv(make("llm", rate_factor=70.0))
    bad = domain_of(system_of(plain)).make_policy("sabotage:worst", system_of(plain))
    costs = []
    for env in (plain, guarded):
        observation, _ = env.reset(seed=3)
        cost, interventions, ended = 0.0, 0, False
        while not ended:
            observation, _, ended, _, info = env.step(bad.predict(observation)[0])
            cost += info["cost"]
            interventions += info.get("intervened", False)
        costs.append(cost)
    assert interventions > 100
    assert costs[1] < 0.5 * costs[0]


def test_each_episode_has_a_fresh_guard():
    env = GuardedEnv(make("llm"))
    env.reset(seed=0)
    first = env.session
    env.step(0)
    env.reset(seed=0)
    assert env.session is not first
    assert len(env.session.policy.recorder) == 0
    assert run_episode(env, seed=4)[1] == run_episode(GuardedEnv(make("llm")), seed=4)[1]


def test_no_guard_but_the_contract_changes_nothing():
    open_guard = GuardConfig.for_routing().only("contract")
    free, guarded = run_episode(JudgedEnv(make("llm"))), run_episode(GuardedEnv(make("llm"), guard=open_guard))
    assert free[1] == guarded[1]
    assert not any(info["intervened"] for info in guarded[0])
    assert [i["cost"] for i in free[0]] == [i["cost"] for i in guarded[0]]


def test_what_is_no_action_is_a_proposal_that_the_guard_refuses():
    env = GuardedEnv(make("llm"))
    env.reset(seed=0)
    *_, info = env.unwrapped, env.step(float("nan"))[-1]
    assert info["proposed"] == -1
    assert info["intervened"]
    assert 0 <= info["executed"] < 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fallback": "luck"}, "no heuristic 'luck'|no heuristic is named 'luck'"),
        ({"guard": "{"}, "guard config"),
        ({"guard": {"checks": []}}, "guard must be a GuardConfig or its JSON, not dict"),
        ({"guard": GuardConfig.for_scheduling()}, "no .*field"),
        ({"objective": {"slo_wait_s": 5.0}}, "objective: "),
    ],
)
def test_what_does_not_fit_is_refused_at_once(arguments: dict, message: str):
    with pytest.raises(HandrailError, match=message):
        GuardedEnv(make("llm"), **arguments)


def test_environments_that_a_guard_cannot_stand_before_are_refused():
    with pytest.raises(HandrailError, match="per_tenant=False"):
        GuardedEnv(make("prefetch", per_tenant=True))
    with pytest.raises(HandrailError, match="ClusterPlacementEnv cannot be guarded"):
        GuardedEnv(gym.make("handrail.envs:handrail/ClusterPlacement-v0"))
    with pytest.raises(HandrailError, match=r"step\(\) needs reset\(\) first"):
        GuardedEnv(make("llm")).step(0)


def test_a_wrapped_environment_may_stand_below():
    env = GuardedEnv(gym.wrappers.TransformReward(make("cluster"), lambda reward: 2.0 * reward))
    assert isinstance(env.unwrapped, ClusterSchedulingEnv)
    assert run_episode(env)[1] == [2.0 * r for r in run_episode(GuardedEnv(make("cluster")))[1]]


def test_the_example_of_the_docs_runs():
    page = (Path(__file__).parents[2] / "docs" / "guarded_training.md").read_text(encoding="utf-8")
    example = page.split("```python\n")[1].split("```")[0]
    found: dict[str, object] = {}
    exec(example, found)
    assert {"proposed", "executed", "intervened", "asked", "judged", "cost"} <= set(found["info"])  # type: ignore[call-overload]


def test_a_guard_that_plays_actions_forward_decides_as_in_a_replay():
    guard = GuardConfig(checks=(ContractConfig(), TwinConfig(horizon_s=2.0, futures=2)))
    env = GuardedEnv(LLMRoutingEnv(rate_factor=80.0, episode_requests=60), guard=guard)
    env.reset(seed=0)
    system, layout, ended = system_of(env), env.unwrapped.layout, False
    fallback = domain_of(system).make_heuristic(env.fallback, system)
    behind = GuardedPolicy(Last(layout), fallback, build_guard(guard, layout), layout)
    replay(system, env.unwrapped.simulator.trace, lambda _: behind, env.objective)
    while not ended:
        _, _, ended, _, _ = env.step(layout.n_replicas - 1)
    assert behind.interventions
    assert env.session.policy.recorder.log_hash() == behind.recorder.log_hash()
