"""Config of the plausibility check: which fields are telemetry, and when they are not to be believed."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from .base import CheckModel


class PlausibilityConfig(CheckModel):
    """Config of :class:`~handrail.policies.guards.checks.plausibility.PlausibilityCheck`.

    Attributes:
        telemetry_fields: Fields that the system reports; they are frozen if all of them stand still together.
        own_fields: Fields that whoever decides counts without the system's help; telemetry is frozen only while these
            move. Empty: time alone must move.
        frozen_decisions: So many decisions at which time and own counts moved while telemetry stood still ...
        frozen_s: ... over at least so many seconds make it frozen.
        reported_fields: Per-replica fields whose sum the system reports ...
        booked_field: ... and the per-replica field that should be about the same by own books; empty: not compared.
        books_absolute: Difference of the two that is allowed, in the fields' unit.
        books_relative: Difference that is allowed beside, as a share of the booked value.
        books_decisions: Over about so many decisions both are averaged (exponentially) before they are compared:
            reports lag behind for a moment in a burst, and a fault does not end.
        range_fields: Fields that must stay in the range seen on calibration data.
        range_low: Smallest value seen of each, in the order of ``range_fields``; empty before calibration.
        range_high: Largest value seen of each.
        range_margin: How far beyond it is still plausible, as a share of the range's width.
        implausible_decisions: So many implausible decisions in a row ...
        implausible_s: ... over at least so many seconds, until it objects.
        plausible_decisions: So many plausible decisions in a row until it is quiet again.
        trip_after: After so many objections in a row the rule is taken away.
    """

    check: Literal["plausibility"] = "plausibility"
    telemetry_fields: tuple[str, ...] = ()
    own_fields: tuple[str, ...] = ()
    frozen_decisions: int = Field(default=10, ge=1)
    frozen_s: float = Field(default=1.0, ge=0)
    reported_fields: tuple[str, ...] = ()
    booked_field: str = ""
    books_absolute: float = Field(default=16.0, ge=0)
    books_relative: float = Field(default=0.5, ge=0)
    books_decisions: int = Field(default=1, ge=1)
    range_fields: tuple[str, ...] = ()
    range_low: tuple[float, ...] = ()
    range_high: tuple[float, ...] = ()
    range_margin: float = Field(default=1.0, ge=0)
    implausible_decisions: int = Field(default=5, ge=1)
    implausible_s: float = Field(default=1.0, ge=0)
    plausible_decisions: int = Field(default=20, ge=1)
    trip_after: int = Field(default=50, ge=1)

    @model_validator(mode="after")
    def _fields_go_together(self) -> Self:
        if bool(self.reported_fields) != bool(self.booked_field):
            raise ValueError("reported_fields and booked_field go together: give both or none")
        lengths = {len(self.range_low), len(self.range_high)}
        if lengths not in ({0}, {len(self.range_fields)}):
            raise ValueError("range_low and range_high must have one value for each of range_fields, or be empty")
        if any(low > high for low, high in zip(self.range_low, self.range_high, strict=True)):
            raise ValueError("range_low must not be above range_high")
        return self
