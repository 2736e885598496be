"""Tenants of a cache behind one guard, as PPO trains on them."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from prefetch_toy import LAYOUT, PACED, RANDOM, toy_search, two_tenants

from handrail.experiments.domains.prefetch import DOMAIN
from handrail.experiments.domains.prefetch_system import PrefetchScenario
from handrail.policies import make_heuristic
from handrail.policies.guards import GuardConfig, build_guard
from handrail.policies.guards.guarded_session import GuardedSession
from handrail.policies.learning.access_costs import CostWeights
from handrail.policies.learning.prefetch_ppo import PrefetchEpisodes, train_prefetch_ppo
from handrail.policies.learning.tally import TrainingTally
from handrail.traces.errors import HandrailError

pytestmark = pytest.mark.skipif(
    not all(find_spec(p) for p in ("torch", "stable_baselines3", "sb3_contrib")), reason="training needs [train]"
)
TRACE = two_tenants(6_000, seed=1)
GUARD = GuardConfig.for_prefetch().only("contract", "gate", "cost-margin", "breaker")
JUDGE = DOMAIN.judge(PrefetchScenario().objective)
SHORT = {"episodes": PrefetchEpisodes(simulators=2, episode_accesses=1_000), "snapshots": 1}
SETTINGS = {"n_steps": 64, "batch_size": 64}


def session(guard: GuardConfig = GUARD) -> GuardedSession:
    fallback = make_heuristic("none", LAYOUT, domain="prefetch", arms=PACED.menu)
    return GuardedSession(fallback, build_guard(guard, LAYOUT), LAYOUT)


def tenants(**changes: object):
    from handrail.policies.learning.tenant_envs import TenantEnvs

    arguments = {"simulators": 1, "episode_accesses": 2_000, "seed": 0, "calm": 50.0, "judge": JUDGE, **changes}
    return TenantEnvs(TRACE, PACED, layout=LAYOUT, search=toy_search(TRACE), weights=CostWeights(), **arguments)


def play(envs, arm: int, steps: int = 25) -> tuple[np.ndarray, list[list[dict]]]:
    envs.reset()
    rewards, told = [], []
    for _ in range(steps):
        envs.step_async(np.full(envs.num_envs, arm))
        _, gained, _, infos = envs.step_wait()
        rewards.append(gained)
        told.append(infos)
    return np.array(rewards), told


def test_a_guard_that_only_checks_the_contract_changes_nothing():
    free, told = play(tenants(), arm=2)
    behind, guarded = play(tenants(session=lambda: session(GUARD.only("contract"))), arm=2)
    np.testing.assert_array_equal(free, behind)
    assert not any(info["intervened"] for infos in guarded for info in infos)
    assert [[i["cost"] for i in infos] for infos in told] == [[i["cost"] for i in infos] for infos in guarded]
    assert sum(info["judged"] for infos in told for info in infos) > 20


def test_the_guard_takes_the_arm_from_the_tenant_that_it_harms():
    rewards, told = play(tenants(session=session), arm=2)
    harmed = [infos[RANDOM] for infos in told]
    assert sum(info["intervened"] for info in harmed) > 10
    assert all(info["executed"] == 0 for info in harmed if info["intervened"])
    free, _ = play(tenants(), arm=2)
    assert rewards[:, RANDOM].sum() > free[:, RANDOM].sum()


def test_a_guard_without_outcomes_is_refused():
    with pytest.raises(HandrailError, match="give judge beside session"):
        tenants(judge=None, session=session)


@pytest.mark.parametrize("learn_from", ["proposed", "executed"])
def test_ppo_trains_behind_it_repeats_itself_and_counts(learn_from: str):
    def train() -> tuple[np.ndarray, TrainingTally]:
        tally = TrainingTally()
        scorers = train_prefetch_ppo(
            TRACE,
            PACED,
            layout=LAYOUT,
            search=toy_search(TRACE),
            steps=512,
            settings=SETTINGS,
            judge=JUDGE,
            session=session,
            tally=tally,
            learn_from=learn_from,  # type: ignore[arg-type]
            **SHORT,
        )
        return scorers[-1].tensors["linear"], tally

    first, tally = train()
    second, again = train()
    np.testing.assert_array_equal(first, second)
    assert tally == again
    assert tally.decisions == 512
    assert tally.judged > 200
    assert tally.interventions > 0
