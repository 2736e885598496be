"""The arms of a cell by name."""

from __future__ import annotations

FALLBACK, UNGUARDED, GUARDED = "fallback", "unguarded", "guarded"
RANDOM_SWITCH, SHIFTED = "random-switch", "shifted-intervals"
CHECKED_FALLBACK, RULE_WITHIN_CHECKS = "checked-fallback", "rule-within-checks"
DELAYED, REPEATED = "delayed", "repeated"
NULLS = (RANDOM_SWITCH, SHIFTED)
"""Null guards that replay; the static gate and the hindsight oracle are put together from runs that are there."""

SHARED = (FALLBACK, CHECKED_FALLBACK, RULE_WITHIN_CHECKS)
"""Arms that no learned policy is part of: once a setting and replicate."""


def placebo(number: int) -> str:
    """Name of a placebo, numbered from 1."""
    return f"placebo-{number}"


def is_shared(arm: str) -> bool:
    """Whether cells of one setting share the arm."""
    return arm in SHARED or arm.startswith("placebo-")
