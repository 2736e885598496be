"""What a check says about one decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

VerdictKind = Literal["accept", "veto", "trip"]
VERDICT_KINDS: tuple[str, ...] = get_args(VerdictKind)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One check's judgement of one decision.

    Attributes:
        kind: ``accept`` lets the proposal pass, ``veto`` puts the fallback's action in its place this once, ``trip``
            takes the rule away from the policy until the supervisor gives it back.
        check: Name of the check that speaks.
        reason: Short code in kebab case, ``ok`` where nothing is wrong. A code means one thing in all checks.
        evidence: The numbers that the judgement rests on, as (name, value) pairs; empty for a plain ``accept``.
    """

    kind: VerdictKind
    check: str
    reason: str
    evidence: tuple[tuple[str, float], ...] = ()


def accepted_by(check: str) -> Verdict:
    """The plain ``accept`` of a check, to be made once and returned at each decision."""
    return Verdict("accept", check, "ok")
