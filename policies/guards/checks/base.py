"""What every check is, and the strict base of every guard config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from ..context import CheckContext
from ..plain_data import no_number
from ..verdict import Verdict

NO_NUMBER = "no_number"
"""Type of the error of a value that is no number; its message begins with the field."""

Stage = Literal["sensors", "outcomes", "proposal"]


class GuardModel(BaseModel):
    """A frozen config that refuses unknown keys, numbers that are not finite, and truth values for numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _numbers_are_numbers(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            types = {name: field.annotation for name, field in cls.model_fields.items()}
            if (name := no_number(data, types)) is not None:
                context = {"field": name, "value": repr(data[name])}
                raise PydanticCustomError(NO_NUMBER, "{field}: a number is needed, not {value}", context)
        return data


class CheckModel(GuardModel):
    """Config of one check.

    Attributes:
        check: Which check it is of; a subclass narrows it to one name, ``check: Literal["..."] = "..."``.
    """

    check: Any


class Check(Protocol):
    """One judge of decisions, which knows nothing of the other checks.

    Attributes:
        name: Its name in verdicts and logs, distinct within a guard.
        stage: ``sensors``: judged first at every decision, on the observation, whoever rules; its veto says that what
            is observed is not to be believed. ``outcomes``: judged at every decision, whoever rules and before the
            policy is asked, so that it sees every outcome; its veto leaves the policy unasked. ``proposal``: judged
            once the policy has proposed.
        cost_us: Nominal cost in microseconds; checks of a stage are run cheapest first, up to the first that objects.
        fault: Whether its veto says that the policy is broken (not merely that this action is unwise); such vetoes in
            a row take the rule away.
    """

    @property
    def name(self) -> str: ...

    @property
    def stage(self) -> Stage: ...

    @property
    def cost_us(self) -> float: ...

    @property
    def fault(self) -> bool: ...

    def judge(self, context: CheckContext) -> Verdict:
        """Judge one decision; called with non-decreasing times, deterministic in all that it was called with."""
        ...


@runtime_checkable
class ExecutionWatcher(Protocol):
    """What a check is, beside a :class:`Check`, that keeps account of what is done and not merely proposed."""

    def note_executed(self, context: CheckContext, action: int) -> None:
        """Take in the action that is executed; called once at the end of every decision, whoever rules."""
        ...
