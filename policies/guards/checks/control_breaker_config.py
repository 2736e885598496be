"""Config of the breaker that judges against a concurrent control."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from .base import CheckModel
from .permutation import MOST_BLOCKS, MOST_PAIRS, smallest_p


class ControlBreakerConfig(CheckModel):
    """Config of :class:`~handrail.policies.guards.checks.control_breaker.ControlBreaker`.

    Attributes:
        control: What the policy is compared with: ``blocks`` of time that the fallback rules, the system's ``ghost``,
            or the fallback's action in the ``twin``.
        level: One-sided level of one look. There is a look a block (a sample), so the rate of false alarms is higher;
            measure it on windows without a shift.
        margin: Excess over the control that is allowed: a share of violations for ``blocks``, a share of the control's
            count or cost for ``ghost`` and ``twin``.
        block_s: Length of a block of simulated time, for ``blocks`` that of the roll-out.
        settle_s: How long after a block's end its outcomes are waited for (``blocks``).
        min_outcomes: Fewest outcomes of a block that counts (``blocks``).
        window_blocks: How many of the latest blocks (of each kind), or samples, are judged.
        system_field: Global field with a count that grows, of the real system (``ghost``).
        control_field: The same of its ghost.
        every: Every so many-th executed proposal that differs from the fallback's choice is played (``twin``).
        horizon_s: How far it is played forward, in simulated seconds.
        futures: Over how many futures.
    """

    check: Literal["control-breaker"] = "control-breaker"
    control: Literal["blocks", "ghost", "twin"]
    level: float = Field(default=0.005, gt=0, lt=1)
    margin: float = Field(default=0.02, ge=0)
    block_s: float = Field(default=60.0, gt=0)
    settle_s: float = Field(default=60.0, ge=0)
    min_outcomes: int = Field(default=10, ge=1)
    window_blocks: int = Field(default=8, ge=1)
    system_field: str = ""
    control_field: str = ""
    every: int = Field(default=10, ge=1)
    horizon_s: float = Field(default=10.0, gt=0)
    futures: int = Field(default=4, ge=1)

    @model_validator(mode="after")
    def _the_level_can_be_reached(self) -> Self:
        if (self.control == "ghost") != bool(self.system_field and self.control_field):
            raise ValueError("system_field and control_field go with control: ghost, and only with it")
        blocks = self.control == "blocks"
        most = MOST_BLOCKS if blocks else MOST_PAIRS
        if self.window_blocks > most:
            raise ValueError(f"window_blocks must be at most {most} with control: {self.control}")
        least_p = smallest_p(self.window_blocks, self.window_blocks) if blocks else 0.5**self.window_blocks
        if least_p > self.level:
            raise ValueError(f"with {self.window_blocks} window_blocks no p-value is below {least_p:.2g}; raise them")
        return self
