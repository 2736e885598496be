"""Prefetch heuristics, by their names on the command line. One file a rule; to add one, write a class with ``choose``
and list it here. Every arm that can be written is a heuristic too: the one that always takes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ....envs.prefetch.arms import DEFAULT_MENU
from ....traces.errors import HandrailError
from .accuracy import Accuracy
from .base import PrefetchHeuristic
from .fixed import FixedArm, fixed_arm
from .lots import RandomArm
from .standing import Standing

_RULES: dict[str, type[PrefetchHeuristic]] = {cls.name: cls for cls in (Standing, Accuracy, RandomArm)}


class _RulesAndArms(Mapping[str, type[PrefetchHeuristic]]):
    """The rules and the arms of the default menu in turn; found is also any other arm that can be written."""

    def __getitem__(self, name: str) -> type[PrefetchHeuristic]:
        if name in _RULES:
            return _RULES[name]
        try:
            return fixed_arm(name)
        except HandrailError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        yield from _RULES
        yield from DEFAULT_MENU

    def __len__(self) -> int:
        return len(_RULES) + len(DEFAULT_MENU)


HEURISTICS: Mapping[str, type[PrefetchHeuristic]] = _RulesAndArms()

__all__ = ["HEURISTICS", "Accuracy", "FixedArm", "PrefetchHeuristic", "RandomArm", "Standing", "fixed_arm"]
