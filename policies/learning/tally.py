"""What a training did to the system that it explored on: objectives missed, choices that a guard put aside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class TrainingTally:
    """Counts over all decisions of a training, added up as they are made.

    Attributes:
        decisions: Decisions made.
        judged: Outcomes revealed: ended requests, ended jobs, intervals between prefetch decisions.
        violations: Of these, service-level objectives missed.
        asked: Decisions at which the guard weighed the agent's choice; all of them without a guard.
        interventions: Of these, decisions at which the guard executed something else than the agent's choice.
        fallback_ruled: All other decisions: the choice was not weighed, since the fallback (or the last rung) ruled.
        multiplier: Lagrange multiplier after the last rollout; None where there is none.
        limit: Share of missed objectives that the multiplier enforces; None where there is none.
        clone_agreement: Share of held-out decisions in which the clone of the fallback chose as it did; None without.
    """

    decisions: int = 0
    judged: int = 0
    violations: int = 0
    asked: int = 0
    interventions: int = 0
    fallback_ruled: int = 0
    multiplier: float | None = None
    limit: float | None = None
    clone_agreement: float | None = None

    def note(self, infos: Sequence[Mapping[str, Any]]) -> None:
        """Add one step of every environment, by their ``info``; without ``cost`` and ``judged`` nothing is judged."""
        for info in infos:
            if info.get("absent", False):  # a tenant without accesses decides nothing
                continue
            self.decisions += 1
            self.judged += int(info.get("judged", 0))
            self.violations += int(info.get("cost", 0.0))
            if info.get("asked", True):
                self.asked += 1
                self.interventions += bool(info.get("intervened", False))
            else:
                self.fallback_ruled += 1

    @property
    def per_1000(self) -> float:
        """Missed objectives per 1,000 outcomes; 0 before the first."""
        return 1000.0 * self.violations / max(self.judged, 1)

    def to_json(self) -> dict[str, int | float]:
        """The counts by name; what there is none of is left out."""
        found = {
            "decisions": self.decisions,
            "outcomes": self.judged,
            "violations": self.violations,
            "violations_per_1000": self.per_1000,
            "asked": self.asked,
            "interventions": self.interventions,
            "fallback_ruled": self.fallback_ruled,
            "multiplier": self.multiplier,
            "violation_limit": self.limit,
            "clone_agreement": self.clone_agreement,
        }
        return {name: value for name, value in found.items() if value is not None}
