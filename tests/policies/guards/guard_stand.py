"""What the guard's tests share: synthetic observations, tiny policies, and a loop that drives a guarded policy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from handrail.envs.llm_serving.layout import layout_for
from handrail.policies.guards import CheckContext, GuardConfig, GuardedPolicy, JudgedOutcome, build_guard
from handrail.policies.interface import Feedback, OutcomeSignal

LAYOUT = layout_for(4)


def observe(**fields: Sequence[float] | float) -> np.ndarray:
    """An observation of four replicas with the given fields set, all else zero."""
    out = np.zeros(LAYOUT.size, dtype=np.float32)
    names = LAYOUT.names()
    for name, value in fields.items():
        if name in names:
            out[names.index(name)] = value
        else:
            LAYOUT.replica(out, name)[:] = value
    return out


def context(observation: np.ndarray | None = None, **known: Any) -> CheckContext:
    """A context with quiet defaults: decision 0, all legal, the fallback takes 0, the policy proposes 0."""
    defaults: dict[str, Any] = {
        "layout": LAYOUT,
        "now_s": 0.0,
        "decision": 0,
        "mask": None,
        "fallback_action": 0,
        "proposal": 0,
        "action": 0,
        "malformed": "",
    }
    return CheckContext(observe() if observation is None else observation, **(defaults | known))


def ended(decision: int, violated: bool, ruled: bool = True) -> JudgedOutcome:
    return JudgedOutcome(decision, violated, 1.0, ruled)


class Fixed:
    """Answers with whatever it was given."""

    def __init__(self, answer: Any, latency_s: float = 0.0) -> None:
        self.answer, self.latency_s, self.calls = answer, latency_s, 0

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        self.calls += 1
        return self.answer, state


class Raising:
    """Raises at each call."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = RuntimeError("broken") if error is None else error
        self.calls = 0

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        self.calls += 1
        raise self.error


def guarded_by(config: GuardConfig, policy: Any, fallback: Any = None) -> GuardedPolicy:
    return GuardedPolicy(policy, Fixed(0) if fallback is None else fallback, build_guard(config, LAYOUT), LAYOUT)


def drive(
    guarded: GuardedPolicy,
    decisions: int,
    *,
    step_s: float = 0.1,
    observation: np.ndarray | None = None,
    lag: int | None = None,
    violates: Iterable[int] = (),
    mask: np.ndarray | None = None,
) -> list[int]:
    """Run so many more decisions; outcomes come ``lag`` decisions later, violated where that action was executed."""
    seen = observe() if observation is None else observation
    bad = set(violates)
    actions = list(guarded.recorder.column("executed"))
    state = None
    for i in range(len(actions), len(actions) + decisions):
        outcomes = (OutcomeSignal(i - lag, int(actions[i - lag]) in bad, 1.0),) if lag is not None and i >= lag else ()
        guarded.notify(Feedback(i * step_s, i, mask, outcomes))
        action, state = guarded.predict(seen, state)
        actions.append(action)
    return [int(action) for action in actions]
