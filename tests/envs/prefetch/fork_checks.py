"""Plays simulators on and compares what they did, to the last bit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from handrail.envs.prefetch import PrefetchObserver, PrefetchResults, PrefetchSimulator

COLUMNS = ("arrival_s", "finish_s", "access_s", "outcome", "tenant", "key", "row")
ACCOUNTS = (
    "prefetches",
    "prefetches_by_tenant",
    "issued_by_arm",
    "polluted",
    "fetches",
    "fetch_bytes",
    "work_s",
    "waited_s",
    "near_bytes",
    "end_s",
)

Answers = Sequence[tuple[int, float]]


def play(
    simulator: PrefetchSimulator, answers: Answers, most: int | None = None, observer: PrefetchObserver | None = None
) -> list[tuple[object, ...]]:
    """Answer decisions, the open one first, with ``answers`` by number; say what was seen at each."""
    seen: list[tuple[object, ...]] = []
    while most is None or len(seen) < most:
        point = simulator.advance()
        if point is None:
            return seen
        observation = b"" if observer is None else observer(point).tobytes()
        arms = (simulator.standing_arm(point.tenant), simulator.current_arm(point.tenant))
        charged = (simulator.charged_s(), simulator.ghost_misses, simulator.tier.backlog_s(point.now_s))
        seen.append((point.now_s, point.item, point.tenant, point.decision, point.outcomes, arms, charged, observation))
        answer(simulator, answers)
    return seen


def answer(simulator: PrefetchSimulator, answers: Answers) -> None:
    """Answer the open decision."""
    arm, latency_s = answers[simulator.decisions % len(answers)]
    simulator.apply(arm % len(simulator.arms), latency_s)


def assert_same(one: PrefetchResults, other: PrefetchResults) -> None:
    for column in COLUMNS:
        np.testing.assert_array_equal(getattr(one, column), getattr(other, column), err_msg=column)
    for account in ACCOUNTS:
        assert getattr(one, account) == getattr(other, account), account
