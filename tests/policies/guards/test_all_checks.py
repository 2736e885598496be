"""A guard with every check that knows no domain: what holds of any guard holds of it, for any policy."""

from __future__ import annotations

import math

import numpy as np
from guard_stand import LAYOUT, Fixed, observe
from hypothesis import given, settings
from hypothesis import strategies as st

from handrail.policies.guards import (
    ControlBreakerConfig,
    DisagreementConfig,
    GuardConfig,
    GuardedPolicy,
    NoveltyCalibrator,
    NoveltyConfig,
    RateLimitConfig,
    TwinConfig,
    ValueDisagreementConfig,
    build_guard,
    fit_novelty,
)
from handrail.policies.interface import Feedback, OutcomeSignal


def everything() -> GuardConfig:
    watch, rng = NoveltyCalibrator(Fixed(0), LAYOUT), np.random.default_rng(np.random.SeedSequence(0))
    for _ in range(400):
        watch.predict(observe(rate_60s=rng.random(), running=10 * rng.random(4)))
    novelty = NoveltyConfig(global_fields=("rate_60s",), replica_fields=("running",))
    return GuardConfig.for_routing().with_checks(
        fit_novelty(novelty, LAYOUT, [watch.sample()]),
        DisagreementConfig(min_decisions=1),
        ValueDisagreementConfig(variance_limit=1.0, window_decisions=4, limit_decisions=2),
        RateLimitConfig(burst_changes=5, changes_per_decision=0.3),
        ControlBreakerConfig(control="blocks", block_s=2.0, settle_s=1.0, min_outcomes=1, window_blocks=6),
        TwinConfig(),
    )


EVERYTHING = everything()


class Scripted:
    """Proposes what it is given, with votes and values."""

    def __init__(self, steps) -> None:
        self._steps = iter(steps)
        self.votes = self.values = None

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        proposal, self.votes, self.values = next(self._steps)
        if proposal == "raise":
            raise RuntimeError("broken")
        return proposal, state


proposals = st.one_of(st.integers(-2, 6), st.sampled_from([math.nan, "raise", None, 1.5]))
votes = st.one_of(st.none(), st.lists(st.integers(0, 3), max_size=4).map(lambda v: np.array(v, dtype=np.int64)))
values = st.one_of(st.none(), st.lists(st.floats(-5, 5), max_size=4).map(np.array))
numbers = st.one_of(st.floats(0, 20, width=32), st.sampled_from([math.nan, math.inf, -1.0]))
steps = st.lists(
    st.tuples(st.tuples(proposals, votes, values), numbers, st.floats(0, 3), st.integers(0, 3)), max_size=40
)


def run(script) -> GuardedPolicy:
    policy = Scripted([answer for answer, *_ in script])
    guarded = GuardedPolicy(policy, Fixed(0), build_guard(EVERYTHING, LAYOUT), LAYOUT, last_rung=Fixed(2))
    now_s = 0.0
    for i, (_, value, gap_s, fell_back) in enumerate(script):
        now_s += gap_s
        outcomes = (OutcomeSignal(i - 1, fell_back > 1, 1.0),) if i else ()
        guarded.notify(Feedback(now_s, i, np.array([True, True, True, False]), outcomes))
        guarded.predict(observe(rate_60s=0.5, running=[value, 1, 2, 3], inflight=i))
    return guarded


@settings(deadline=None, max_examples=150)
@given(steps)
def test_only_legal_actions_are_executed_and_runs_repeat(script):
    guarded = run(script)
    executed, learned = guarded.recorder.column("executed"), guarded.recorder.column("who") == 1
    assert set(executed.tolist()) <= {0, 1, 2}
    proposed = guarded.recorder.column("proposed")
    assert (executed[learned] == proposed[learned]).all()
    for i, (_, value, _, _) in enumerate(script):
        if not 0 <= value < math.inf:  # what the layout forbids goes to the last rung at once
            assert executed[i] == 2
    assert run(script).recorder.log_hash() == guarded.recorder.log_hash()
