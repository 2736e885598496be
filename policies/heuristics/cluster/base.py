"""What all scheduling heuristics share: a score a job, EASY-like backfilling, and overdue jobs first."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ....envs.cluster.config import ClusterConfig
from ....envs.common import Layout
from ...fields import global_index, replica_slice
from ...guards.overdue_rule import OverdueRule
from ..base import PLACEBO_TIE_TOLERANCE, Heuristic

Floats = NDArray[np.float64]

DEFAULT_OVERDUE_PASSES: int = ClusterConfig.model_fields["overdue_passes"].default

_PROCESSOR_DECIMALS = 3
"""Processors are counted in thousandths; what a share in single precision adds below that is noise."""


class SchedulingHeuristic(Heuristic):
    """Starts the waiting job with the lowest score, or backfills, or waits.

    The choices are the jobs of the window and, in the last row, to wait. In this order:

    1. The overdue job whose turn it is, if it can start.
    2. If no overdue job would be passed: the job with the lowest score of all that wait, if it can start.
    3. Of the jobs that can start, that do not delay the head's reservation (``head_delay_s`` 0) and that no overdue job
       forbids: the one with the lowest score. The head is the job that stands first in the *cluster's* order, not by
       this score: only that one has a reservation (so the rule is EASY backfilling where the two orders are the same).
    4. Wait; where that is not legal, the lowest score of what can start, what the overdue jobs allow first.

    Slots that tie go in their order (but see ``tie_seed``). Which starts the overdue jobs forbid is said in
    :class:`~handrail.policies.guards.overdue_rule.OverdueRule`.

    Args:
        layout: The observation layout to read by field name.
        seed: Seed of the heuristic's own random choices.
        tie_seed: Makes it its own placebo, see :class:`~handrail.policies.heuristics.base.Heuristic`.
        overdue_passes: As in the cluster's config.
        knowledge: What the estimates in the observation are made of, as in the cluster's config.

    Attributes:
        reads_estimate: Whether the score reads run times; ``knows`` is then ``knowledge``, else ``none``.
    """

    reads_estimate: ClassVar[bool] = True

    def __init__(
        self,
        layout: Layout,
        seed: int = 0,
        tie_seed: int | None = None,
        *,
        overdue_passes: int = DEFAULT_OVERDUE_PASSES,
        knowledge: str = "predicted",
    ) -> None:
        super().__init__(layout, seed, tie_seed)
        self.knows = knowledge if self.reads_estimate else "none"
        self._wait = layout.n_replicas - 1
        self._overdue = OverdueRule(layout, overdue_passes)
        self._passed = _jobs(layout, "overdue_passed")
        self._head_delay = _jobs(layout, "head_delay_s")
        self._size_share = _jobs(layout, "size_share")
        self._slowdown = _jobs(layout, "slowdown")  # at least 1 for a job, 0 for an empty slot
        self._estimate = _jobs(layout, "estimate_s")
        self._waited = _jobs(layout, "wait_s")
        self._submit = _jobs(layout, "submit_s")
        self._cluster_size = global_index(layout, "cluster_size")

    @abstractmethod
    def scores(self, observation: NDArray[np.float32]) -> Floats:
        """Score of each job of the window, shape (n_replicas - 1,), lower goes first; empty slots get any number."""

    def choose(self, observation: NDArray[np.float32]) -> int:
        up = observation[self._up] > 0.0
        ready = up[: self._wait]
        if not ready.any():
            return self._wait
        due = self._overdue.due(observation)
        if due >= 0:
            return due
        scores = self.scores(observation)
        passed = observation[self._passed]
        if not passed.any():
            # What can start is a job, also where a broken sensor shows every slot empty.
            first = self._lowest(scores, ready | (observation[self._slowdown] > 0.0))
            if ready[first]:
                return first
        allowed = ready & self._overdue.permitted(observation)[: self._wait]
        harmless = allowed & (observation[self._head_delay] == 0.0)
        if harmless.any():
            return self._lowest(scores, harmless)
        if up[self._wait]:
            return self._wait
        return self._lowest(scores, allowed if allowed.any() else ready)

    def _lowest(self, scores: Floats, among: NDArray[np.bool_]) -> int:
        """The job with the lowest score among some, of which there is at least one."""
        slots = among.nonzero()[0]
        here = scores[slots]
        best = int(here.argmin())
        if self.tie_seed is None:
            return int(slots[best])
        return self._pick(slots[here <= here[best] + PLACEBO_TIE_TOLERANCE * abs(here[best])])

    def _estimates_s(self, observation: NDArray[np.float32]) -> Floats:
        """Run times as far as they may be known, shape (n_replicas - 1,); 0 where they may not."""
        return observation[self._estimate].astype(np.float64)

    def _waits_s(self, observation: NDArray[np.float32]) -> Floats:
        return observation[self._waited].astype(np.float64)

    def _submits_s(self, observation: NDArray[np.float32]) -> Floats:
        """Submit times on the trace's own clock."""
        return observation[self._submit].astype(np.float64)

    def _processors(self, observation: NDArray[np.float32]) -> Floats:
        """GPUs (processors) of each job."""
        size = observation[self._size_share].astype(np.float64) * float(observation[self._cluster_size])
        return size.round(_PROCESSOR_DECIMALS)


def _jobs(layout: Layout, name: str) -> slice:
    """The slice of an observation that holds one field of the jobs, without the row that stands for waiting."""
    every = replica_slice(layout, name)
    return slice(every.start, every.stop - every.step, every.step)
