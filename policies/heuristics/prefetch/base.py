"""What all prefetch heuristics share: the menu's labels, and what that says of their knowledge."""

from __future__ import annotations

from ....envs.common import Layout
from ....envs.prefetch.arms import DEFAULT_MENU, Arm
from ..base import Heuristic

ORACLE = "oracle"
"""The prefetcher that knows the future."""


class PrefetchHeuristic(Heuristic):
    """Chooses an arm of the menu: a prefetcher and its degree.

    Args:
        layout: The observation layout to read by field name, a row an arm.
        seed: Seed of the heuristic's own random choices.
        tie_seed: Makes it its own placebo, see :class:`~handrail.policies.heuristics.base.Heuristic`.
        arms: The menu, as in the cache's config: what the layout's rows stand for.

    Attributes:
        knows: ``none``, or ``true`` where a prefetcher among those that it may choose is the oracle.
    """

    def __init__(
        self,
        layout: Layout,
        seed: int = 0,
        tie_seed: int | None = None,
        *,
        arms: tuple[str, ...] = DEFAULT_MENU,
    ) -> None:
        super().__init__(layout, seed, tie_seed)
        self.arms = tuple(Arm.parse(text) for text in arms)
        self.knows = "true" if any(arm.prefetcher == ORACLE for arm in self.arms) else "none"
