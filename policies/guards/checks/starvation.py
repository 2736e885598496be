"""The starvation bound: how many later-arrived jobs may start before one that is overdue."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ....envs.common.layout import Layout
from ..context import CheckContext
from ..overdue_rule import OverdueRule
from ..verdict import Verdict, accepted_by
from .base import CheckModel, Stage


class StarvationConfig(CheckModel):
    """Config of :class:`StarvationCheck`.

    Attributes:
        overdue_passes: How many later-arrived jobs may start before an overdue one, as in the cluster's config.
    """

    check: Literal["starvation"] = "starvation"
    overdue_passes: int = Field(default=500, ge=0)


class StarvationCheck:
    """Vetoes what would starve an overdue job.

    *Words.* A job is overdue once it has waited beyond the wait limit, eligible while its tenant is within quota. A
    start *passes* job A if A waits, is overdue and eligible at the decision, and the started job arrived later. Passes
    of A are counted from then on until A starts. All is judged at the decision, from the observation.

    *Statement.* Behind this check, with a fallback that keeps the same rule: (1) no job is passed more than
    ``overdue_passes`` times; (2) no overdue job passes another, so overdue jobs start first come first served among
    themselves (among those that are eligible).

    *Assumptions.* (a) The field ``overdue_passed`` of a job is 0 if it would pass nobody, else 1 + the most passes
    that a job which it would pass has suffered; the simulator's, and tested there. (b) Every start is a decision of its
    own, so that the next one sees its passes. (c) The fallback keeps :class:`OverdueRule`. The heuristics do wherever
    the overdue job whose turn it is can start, or waiting is legal, or a job that the rule permits can start; in the
    simulator one of these holds always, since waiting is illegal only in a cluster that is empty and whole, where
    every waiting job fits.

    *Proof.* What is executed is an accepted proposal or the fallback's choice, so it keeps the rule either way. Let a
    start pass A, and let A have been passed k times before. By (a) its ``overdue_passed`` is at least k + 1. If the
    started job is overdue, the rule has ``overdue_passed`` = 0: a contradiction, so (2). If it is not, the rule has
    ``overdue_passed`` <= ``overdue_passes``, so k + 1 <= ``overdue_passes``; by induction over the starts, with (b),
    this is (1). One number a job suffices because it is the largest over those that it would pass. Without quotas that
    is the oldest one's: whatever passes a younger overdue job arrived after the older one too, which is overdue as
    well, and so passes both.

    It does not bound the wait in seconds: that needs run times that are bounded and machines that do not fail.

    Reason codes: ``overdue-passes-used-up`` (a job that is not overdue would pass one too often),
    ``overdue-out-of-turn`` (an overdue job would pass an older one), ``overdue-kept-waiting`` (to wait while the
    overdue job whose turn it is can start; this one serves progress, the bound does not need it), ``out-of-range``.
    The fallback's own choice passes.
    """

    name = "starvation"
    stage: Stage = "proposal"
    cost_us = 1.0
    fault = False

    def __init__(self, config: StarvationConfig, layout: Layout) -> None:
        self._rule = OverdueRule(layout, config.overdue_passes)
        self._wait = layout.n_replicas - 1
        self._accept = accepted_by(self.name)

    def judge(self, context: CheckContext) -> Verdict:
        """Judge the proposal by the passes that the observation reports."""
        action, observation = context.action, context.observation
        if action == context.fallback_action:
            return self._accept
        if not 0 <= action <= self._wait:
            return Verdict("veto", self.name, "out-of-range")
        if action == self._wait:
            due = self._rule.due(observation)
            if due < 0:
                return self._accept
            return Verdict("veto", self.name, "overdue-kept-waiting", (("slot", float(due)),))
        if self._rule.permits(observation, action):
            return self._accept
        overdue = self._rule.is_overdue(observation, action)
        evidence = (
            ("overdue_passed", self._rule.passed(observation, action)),
            ("overdue_passes", float(self._rule.overdue_passes)),
        )
        return Verdict("veto", self.name, "overdue-out-of-turn" if overdue else "overdue-passes-used-up", evidence)
