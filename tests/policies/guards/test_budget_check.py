"""The ghost-cache budget's arithmetic and its reason codes, and the default guard for prefetching around it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from synthetic_prefetch import LAYOUT, MENU, NEXT_LINE, NONE, OBL, READAHEAD, STRIDE, arms

from handrail.envs.llm_serving.layout import layout_for as routing_layout_for
from handrail.policies import make_heuristic, make_sabotage
from handrail.policies.guards import (
    BreakerConfig,
    BudgetConfig,
    CheckContext,
    Guard,
    GuardConfig,
    GuardedPolicy,
    JudgedOutcome,
    SupervisorConfig,
    Verdict,
    build_guard,
)
from handrail.policies.guards.checks import BudgetCheck, OutcomeBreaker
from handrail.policies.interface import Feedback
from handrail.traces.errors import HandrailError

K, M = 100, 64


def budget(**values: float) -> BudgetCheck:
    return BudgetCheck(BudgetConfig(**({"excess_share": 0.5, "budget_caches": 2.0} | values)), LAYOUT)


def counted(misses: float, ghost: float, objects: float = K, accesses: float = M, now_s: float = 0.0) -> CheckContext:
    observation = arms(misses=misses, ghost_misses=ghost, cache_objects=objects, decision_accesses=accesses)
    return CheckContext(observation, LAYOUT, now_s, 0, None, OBL)


def test_the_policy_rules_while_the_reserve_is_left_to_the_last_miss():
    # 1.5 x 1000 + 200 - misses >= 164
    assert budget().judge(counted(1536, 1000)).kind == "accept"
    verdict = budget().judge(counted(1537, 1000))
    assert (verdict.kind, verdict.check, verdict.reason) == ("veto", "budget", "budget-spent")
    assert dict(verdict.evidence) == {"misses": 1537.0, "ghost_misses": 1000.0, "slack": 163.0, "reserve": 164.0}


def test_at_the_start_the_budget_must_cover_the_reserve():
    assert budget(budget_caches=1.64).judge(counted(0, 0)).kind == "accept"
    assert budget(budget_caches=1.63).judge(counted(0, 0)).reason == "budget-spent"
    assert budget(budget_caches=0.0, excess_share=0.5).judge(counted(328, 328)).kind == "accept"
    assert budget(budget_caches=0.0, excess_share=0.5).judge(counted(327, 327)).reason == "budget-spent"


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ((5, 5, 0), "budget-no-objects"),
        ((5, 5, K, 0), "budget-no-accesses"),
        ((5, 0), "budget-no-ghost"),
        ((float("nan"), 5), "budget-unknown"),
        ((5, float("nan")), "budget-unknown"),
        ((5, -1), "budget-unknown"),
        ((5, 5, float("nan")), "budget-unknown"),
        ((16_777_216, 16_777_216), "budget-count-limit"),
        ((5, 16_777_216), "budget-count-limit"),
        ((5, float("inf")), "budget-count-limit"),
        ((5, 5, 2.0**24), "budget-count-limit"),
        ((5, 5, K, 1e6), "budget-count-limit"),  # the field's bound: it may have been more
    ],
)
def test_where_the_counts_say_nothing_it_hands_over(counts, reason):
    verdict = budget(budget_caches=1e6).judge(counted(*counts))
    assert (verdict.kind, verdict.reason) == ("veto", reason)
    assert budget(budget_caches=1e6).judge(counted(16_777_215, 16_777_215)).kind == "accept"


def test_discounted_counts_halve_at_each_moment_and_not_at_each_tenants_decision():
    check = budget(discount=0.5, excess_share=0.0, budget_caches=2.0)

    def spent(misses: int, ghost: int, now_s: float) -> dict[str, float] | None:
        verdict = check.judge(counted(misses, ghost, now_s=now_s))
        return dict(verdict.evidence) if verdict.kind == "veto" else None

    assert spent(0, 0, 0.0) is None
    # 100 more than the ghost, halved: slack 200 - 50 < 164.
    first = spent(160, 60, 1.0)
    assert first == {"misses": 80.0, "ghost_misses": 30.0, "slack": 150.0, "reserve": 164.0}
    assert spent(160, 60, 1.0) == first  # the next tenant's decision at the same moment
    assert spent(160, 60, 2.0) is None  # 40 against 15: forgotten
    assert spent(264, 64, 3.0) == {"misses": 72.0, "ghost_misses": 9.5, "slack": 137.5, "reserve": 164.0}


def test_a_discounted_budget_must_cover_a_takeover():
    with pytest.raises(ValidationError, match="at least one cache"):
        BudgetConfig(discount=0.9, budget_caches=0.5)
    assert BudgetConfig(discount=0.9, budget_caches=1.0).discount == 0.9


def test_a_layout_without_the_counts_is_refused():
    with pytest.raises(HandrailError, match="no global field 'misses'"):
        BudgetCheck(BudgetConfig(), routing_layout_for(2))


# In a guard.


def guarded(policy: Any, config: GuardConfig) -> GuardedPolicy:
    fallback = make_heuristic("standing", LAYOUT, domain="prefetch", arms=MENU)
    return GuardedPolicy(policy, fallback, build_guard(config, LAYOUT), LAYOUT)


def decide(policy: GuardedPolicy, decision: int, observation: np.ndarray) -> int:
    policy.notify(Feedback(float(decision), decision))
    return policy.predict(observation)[0]


def sound(**fields: Any) -> np.ndarray:
    rows = [{}, {"waste": 0.1, "issue_rate": 0.3}, {"waste": 0.3, "issue_rate": 0.2}, {"waste": 0.15}, {"waste": 0.9}]
    counts = {"misses": 10, "ghost_misses": 10, "cache_objects": K, "decision_accesses": 16}
    settings: dict[str, Any] = counts | {"utilisation": 0.5, "utilisation_slow": 0.5} | fields
    return arms(*rows, **settings)


def test_once_the_budget_is_spent_the_policy_is_not_asked_and_none_of_it_counts_as_a_veto():
    config = GuardConfig.for_prefetch(degree_margin=31)
    policy = guarded(make_sabotage("constant", LAYOUT, domain="prefetch", arms=MENU), config)
    spent = sound(misses=200)
    assert [decide(policy, i, spent) for i in range(400)] == [OBL] * 400
    assert policy.interventions == {"budget-spent": 400}
    assert policy.state == "closed"
    assert policy.guard.supervisor.transitions == []
    assert decide(policy, 400, sound()) == READAHEAD


def test_the_default_guard_holds_each_of_its_checks():
    config = GuardConfig.for_prefetch()
    kinds = ["contract", "plausibility", "gate", "cost-margin", "cost-margin", "budget", "breaker"]
    assert [check.check for check in config.checks] == kinds
    assert GuardConfig.from_json(config.to_json()) == config

    def verdict(action: Any, **fields: float) -> tuple[int, dict[str, int]]:
        fixed = make_heuristic(MENU[action], LAYOUT, domain="prefetch", arms=MENU)
        policy = guarded(fixed, config)
        return decide(policy, 0, sound(**fields)), policy.interventions

    assert verdict(NONE) == (NONE, {})
    assert verdict(READAHEAD) == (OBL, {"degree-over-margin": 1})
    assert verdict(STRIDE) == (OBL, {"waste-over-margin": 1})
    assert verdict(NEXT_LINE) == (OBL, {"waste-over-margin": 1})
    assert verdict(READAHEAD, utilisation=0.9) == (OBL, {"burst-at-busy-tier": 1})
    assert verdict(NONE, utilisation=0.9) == (NONE, {})
    assert verdict(READAHEAD, cache_objects=0.0) == (OBL, {"budget-no-objects": 1})
    slow = guarded(make_sabotage("slow", LAYOUT, domain="prefetch", arms=MENU), config)
    assert decide(slow, 0, sound()) == OBL
    assert slow.interventions == {"latency-over-budget": 1}
    assert slow.latency_s == 1e-3


def test_settings_reach_the_checks():
    config = GuardConfig.for_prefetch(
        waste_margin=0.3,
        degree_margin=2,
        excess_share=0.2,
        budget_caches=3.0,
        discount=0.99,
        loads=(0.5,),
        shares=(0.2,),
    )
    by_kind = {check.check: check for check in config.checks}
    assert by_kind["budget"] == BudgetConfig(excess_share=0.2, budget_caches=3.0, discount=0.99)
    assert by_kind["breaker"] == BreakerConfig(
        load_field="utilisation_slow", capacity_per_s=1.0, loads=(0.5,), shares=(0.2,)
    )
    stride = make_heuristic("stride:4", LAYOUT, domain="prefetch", arms=MENU)
    shy = guarded(stride, config)
    assert decide(shy, 0, sound()) == OBL
    assert shy.interventions == {"degree-over-margin": 1}
    wider = config.model_copy(update={"checks": tuple(c for c in config.checks if getattr(c, "field", "") != "degree")})
    assert decide(guarded(stride, wider), 0, sound()) == STRIDE


def test_a_trip_is_heard_also_where_another_check_of_outcomes_objects():
    breaker = BreakerConfig(load_field="utilisation_slow", capacity_per_s=1.0, loads=(0.0,), shares=(0.1,))
    spent = counted(10_000, 10)
    spent.outcomes = [JudgedOutcome(i, True, 1.0, True) for i in range(60)]
    for cost_us in (0.1, 9.0):  # before the breaker, and after it
        check = BudgetCheck(BudgetConfig(), LAYOUT)
        check.cost_us = cost_us  # type: ignore[misc]
        watch = OutcomeBreaker(breaker, LAYOUT)
        guard = Guard([check, watch], SupervisorConfig())
        for decision in range(60):
            quiet = counted(0, 0, accesses=K / 2)
            quiet.decision = decision
            assert guard.before(quiet) is None
        spent.decision = 60
        verdict = guard.before(spent)
        assert isinstance(verdict, Verdict)
        assert verdict.kind == "trip"
        assert guard.supervisor.state.label == "open"
