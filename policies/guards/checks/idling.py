"""The idling check: a policy that may start nothing must not be able to stall the cluster."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ....envs.common.layout import Layout
from ..context import CheckContext
from ..verdict import Verdict, accepted_by
from .base import CheckModel, Stage


class IdlingConfig(CheckModel):
    """Config of :class:`IdlingCheck`.

    Attributes:
        max_waits: Most idle waits between two starts.
        max_idle_s: Simulated seconds of idling that a policy may spend at once.
        idle_share: How fast what was spent comes back: so many seconds a second that is not idle.
        small_share: Share of the cluster that a policy may leave free as long as it likes.
    """

    check: Literal["idling"] = "idling"
    max_waits: int = Field(default=8, ge=0)
    max_idle_s: float = Field(default=600.0, ge=0)
    idle_share: float = Field(default=0.02, ge=0, le=1)
    small_share: float = Field(default=0.05, ge=0, le=1)


class IdlingCheck:
    """Vetoes waiting where the fallback would start a job, once the policy has idled enough.

    An *idle wait* is an executed wait at a decision at which the fallback would have started something and more than
    ``small_share`` of the cluster was free; the time from it to the next decision is *idle*. (To hold back the last few
    GPUs for short jobs that are to come is what a policy may be good for, and what it costs is bounded by their share.)
    Idle waits are allowed while there were fewer than ``max_waits`` since the last start, while credit is left, and
    while something runs. Credit is seconds: it starts at ``max_idle_s``, idle time takes from it, other time adds
    ``idle_share`` a second up to ``max_idle_s`` again.

    Proved: between two starts at most ``max_waits`` idle waits are executed, since the next one is vetoed and the
    fallback's start put in its place; so a policy cannot stall a cluster that the fallback would keep going. And in
    any stretch of T seconds less than ``max_idle_s + idle_share * T`` seconds plus the longest interval between two
    decisions are idle: an idle wait needs credit, there is at most ``max_idle_s`` of it at the start of the stretch and
    ``idle_share * T`` to come, and only the last idle interval can overdraw it.

    Reason codes: ``idle-cluster`` (to wait though nothing runs, so that only an arrival could end it),
    ``idle-waits-used-up``, ``idle-time-used-up``. Actions other than waiting pass.
    """

    name = "idling"
    stage: Stage = "proposal"
    cost_us = 0.8
    fault = False

    def __init__(self, config: IdlingConfig, layout: Layout) -> None:
        layout.replica(layout.low, "is_wait")  # a layout in which no choice stands for waiting is the user's mistake
        layout.scalar(layout.low, "running_jobs")
        layout.scalar(layout.low, "free_share")
        self._config = config
        self._layout = layout
        self._wait = layout.n_replicas - 1
        self._accept = accepted_by(self.name)
        self._waits = 0
        self._credit_s = config.max_idle_s
        self._idle = False
        self._since_s = 0.0

    def judge(self, context: CheckContext) -> Verdict:
        """Judge a wait by what the policy has idled so far."""
        if not self._is_idle(context, context.action):
            return self._accept
        if not self._layout.scalar(context.observation, "running_jobs") > 0.0:
            return Verdict("veto", self.name, "idle-cluster")
        credit_s = self._credit_at(context.now_s)
        evidence = (("waits", float(self._waits)), ("credit_s", credit_s))
        if self._waits >= self._config.max_waits:
            return Verdict("veto", self.name, "idle-waits-used-up", evidence)
        if credit_s <= 0.0:
            return Verdict("veto", self.name, "idle-time-used-up", evidence)
        return self._accept

    def note_executed(self, context: CheckContext, action: int) -> None:
        """Keep the account; called at every decision, whoever rules."""
        self._credit_s = self._credit_at(context.now_s)
        self._since_s = context.now_s
        self._idle = self._is_idle(context, action)
        if self._idle:
            self._waits += 1
        elif action != self._wait:
            self._waits = 0

    def _is_idle(self, context: CheckContext, action: int) -> bool:
        if action != self._wait or context.fallback_action == self._wait:
            return False
        layout, observation = self._layout, context.observation
        runs = layout.scalar(observation, "running_jobs") > 0.0
        return not runs or layout.scalar(observation, "free_share") > self._config.small_share

    def _credit_at(self, now_s: float) -> float:
        passed_s = now_s - self._since_s
        if self._idle:
            return self._credit_s - passed_s
        return min(self._credit_s + self._config.idle_share * passed_s, self._config.max_idle_s)
