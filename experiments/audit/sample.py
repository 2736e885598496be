"""Which decisions of a guarded run are audited: a stratified sample, by why each was decided as it was.

Within a stratum decisions are taken at even distances with a random start (systematic sampling): neighbours share
their queues, so a sample that is spread over the run says more than a random one of the same size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ACCEPTED = "accepted"
"""Stratum of the proposals that were executed and were not the fallback's action."""


@dataclass(frozen=True, slots=True)
class Stratum:
    """Decisions of one kind.

    Attributes:
        reason: Reason code of the intervention, or ``accepted``.
        intervened: Whether the guard put the fallback's action in the proposal's place.
        asked: Whether the policy had been asked: then one choice is audited, else who goes on ruling.
        size: Decisions of this kind in the run.
        decisions: Those that are audited, ascending.
    """

    reason: str
    intervened: bool
    asked: bool
    size: int
    decisions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """The strata, and what needs no audit.

    Attributes:
        strata: One for each reason, in the order of first appearance.
        agreeing: Decisions in which the proposal was the fallback's own action: nothing hangs on these.
        unusable: Interventions, by reason, where there was no action to play: a fault was contained.
        decisions: All decisions of the run.
    """

    strata: tuple[Stratum, ...]
    agreeing: int
    unusable: dict[str, int]
    decisions: int


def draw_sample(log: Any, per_stratum: int, seed: int) -> Sample:
    """Draw a sample from a decision log.

    Args:
        log: Table with the columns ``proposed``, ``fallback``, ``who``, ``asked`` and ``reason``.
        per_stratum: Most decisions of one stratum.
        seed: Seed of the random starts.
    """
    proposed = np.asarray(log.column("proposed"))
    fallback = np.asarray(log.column("fallback"))
    asked = np.asarray(log.column("asked")).astype(bool)
    learned = np.array(log.column("who").to_pylist(), dtype=object) == "learned"
    reasons = log.column("reason").to_pylist()

    agreeing = asked & (proposed == fallback)
    broken = asked & (proposed < 0)
    accepted = learned & ~agreeing
    kinds: dict[tuple[str, bool, bool], list[int]] = {}
    unusable: dict[str, int] = {}
    for decision, reason in enumerate(reasons):
        if accepted[decision]:
            kinds.setdefault((ACCEPTED, False, True), []).append(decision)
        elif broken[decision]:
            unusable[reason] = unusable.get(reason, 0) + 1
        elif not agreeing[decision]:
            kinds.setdefault((reason, True, bool(asked[decision])), []).append(decision)
    streams = np.random.SeedSequence(seed).spawn(len(kinds))
    strata = tuple(
        Stratum(*kind, size=len(rows), decisions=_spread(np.array(rows), per_stratum, np.random.default_rng(stream)))
        for (kind, rows), stream in zip(kinds.items(), streams, strict=True)
    )
    return Sample(strata, int(agreeing.sum()), unusable, len(reasons))


def _spread(rows: NDArray[np.int64], wanted: int, rng: np.random.Generator) -> tuple[int, ...]:
    if len(rows) <= wanted:
        return tuple(rows.tolist())
    step = len(rows) / wanted
    return tuple(rows[((np.arange(wanted) + rng.random()) * step).astype(np.int64)].tolist())
