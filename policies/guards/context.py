"""What a check sees of one decision, and how a raw proposal is read as an action."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...envs.common.layout import Layout

if TYPE_CHECKING:
    from .forecast import Forecast

NOT_ASKED = "not-asked"


class JudgedOutcome(NamedTuple):
    """How one earlier decision turned out, and under whose rule it was made.

    Attributes:
        decision: Number of that decision.
        violated: Whether the service-level objective was missed.
        value: The domain's headline latency, in seconds.
        ruled: Whether the learned policy ruled then (its proposal was asked for, if perhaps vetoed): a vetoed decision
            under its rule still suffers from those that were not.
    """

    decision: int
    violated: bool
    value: float
    ruled: bool


@dataclass(slots=True)
class CheckContext:
    """Everything that a check may know of one decision; nothing in it lies in the future.

    Checks of the stages ``sensors`` and ``outcomes`` see it before the policy is asked, when ``proposal`` and what
    follows it still stand at their defaults. A check reads the context and keeps no reference to it.

    Attributes:
        observation: Observation vector, shape (layout.size,), float32. Not to be written to.
        layout: Names of what stands where in it.
        now_s: Simulated time, in seconds.
        decision: Number of this decision, from 0.
        mask: Legal actions, shape (layout.n_replicas,), bool; ``None`` where all are legal.
        fallback_action: What the fallback would do now.
        outcomes: Outcomes that became known since the last decision, oldest first.
        spell_start: First decision of the present spell of the policy's rule; outcomes of earlier decisions belong to
            a spell that is over.
        forecast: Plays actions forward in forks of the simulator; ``None`` where no check asks for it.
        proposal: What the policy returned, whatever that is.
        action: The proposal read as an integer; -1 where it cannot be.
        malformed: Why it cannot be (a reason code), empty where it can.
        error: Text of the exception that ``predict`` raised, empty where it raised none.
        latency_s: Decision latency that the policy declares, in simulated seconds.
        votes: Proposals of an ensemble's members, shape (members,), int64; ``None`` where the policy has none.
        values: Estimates of several value heads, shape (heads,), float64; ``None`` where the policy has none.
    """

    observation: NDArray[np.float32]
    layout: Layout
    now_s: float
    decision: int
    mask: NDArray[np.bool_] | None
    fallback_action: int
    outcomes: Sequence[JudgedOutcome] = ()
    spell_start: int = 0
    forecast: Forecast | None = None
    proposal: Any = None
    action: int = -1
    malformed: str = NOT_ASKED
    error: str = ""
    latency_s: float = 0.0
    votes: NDArray[np.int64] | None = None
    values: NDArray[np.float64] | None = None


def read_action(proposal: Any) -> tuple[int, str]:
    """Read a raw proposal as an integer action: (action, empty string), or (-1, reason code).

    Taken are Python and NumPy integers, floats of whole value, and arrays of either that hold one element. Booleans,
    strings, sequences and other objects are not actions.
    """
    if isinstance(proposal, np.ndarray):
        if proposal.size != 1:
            return -1, "wrong-shape"
        if proposal.dtype.kind not in "iuf":
            return -1, "wrong-type"
        proposal = proposal.item()
    if isinstance(proposal, bool):
        return -1, "wrong-type"
    if isinstance(proposal, (int, np.integer)):
        return operator.index(proposal), ""
    if isinstance(proposal, (float, np.floating)):
        value = float(proposal)
        if not math.isfinite(value):
            return -1, "not-finite"
        return (int(value), "") if value.is_integer() else (-1, "not-an-integer")
    return -1, "wrong-type"
