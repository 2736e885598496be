"""A guard declared: which checks with which thresholds, and how the supervisor behaves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import SerializeAsAny, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from ...envs.common.layout import Layout
from ...traces.errors import HandrailError
from .checks import (
    BreakerConfig,
    BudgetConfig,
    ContractConfig,
    ControlBreakerConfig,
    CostMarginConfig,
    GateConfig,
    IdlingConfig,
    ReservationConfig,
    StarvationConfig,
    build_check,
    known_checks,
)
from .checks.base import NO_NUMBER, CheckModel, GuardModel
from .domain_checks import prefetch_plausibility, routing_plausibility, scheduling_plausibility
from .guard import Charge, Guard
from .plain_data import RepeatedKey, read_json, read_yaml
from .supervisor import SupervisorConfig

_BAD_CHECK = "bad_check"

SCHEDULING_SUPERVISOR = SupervisorConfig(
    min_dwell_s=1800.0,
    max_dwell_s=345_600.0,
    healthy_reset_s=86_400.0,
    probe_decisions=64,
    probe_outcomes=20,
    probe_timeout_s=21_600.0,
    veto_window_decisions=30,
)
"""Cluster jobs take minutes to days where requests take seconds, and waits have no outcome: more time, more probes.

An honest policy is vetoed so rarely (0.2 to 5 % on validation parts) that a third of 30 proposals says enough; and what
is broken stays broken, so that openings grow up to four days."""

PREFETCH_SUPERVISOR = SupervisorConfig(probe_decisions=128, veto_share_limit=0.8)
"""A tenant that pauses gives no outcome, so more probes; and what a veto leaves is the fallback's arm, so it does no
harm to veto often a policy that is right for some tenants alone."""


class GuardConfig(GuardModel):
    """A guard as data.

    Attributes:
        checks: The checks' configs; a check that is not listed is off. Their order does not matter. As data each has
            its name under ``check``: a built-in one, or one that ``register_check`` made known.
        supervisor: Times and counts of the supervisor.
        charge: Whether the checks' nominal cost is added to the simulated time of a decision.
    """

    checks: tuple[SerializeAsAny[CheckModel], ...] = (ContractConfig(),)
    supervisor: SupervisorConfig = SupervisorConfig()
    charge: Charge = "none"

    @field_validator("checks", mode="before")
    @classmethod
    def _checks_by_name(cls, value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            raise PydanticCustomError(
                _BAD_CHECK, "checks: a list is needed, each a mapping with its name under check; mend it"
            )
        return tuple([_check_from(i, check) for i, check in enumerate(value)])

    @model_validator(mode="after")
    def _probes_can_be_judged(self) -> Self:
        needed = max((c.min_outcomes for c in self.checks if isinstance(c, BreakerConfig)), default=0)
        if self.supervisor.probe_outcomes < needed:
            raise ValueError(
                f"supervisor.probe_outcomes ({self.supervisor.probe_outcomes}) must be at least the breaker's "
                f"min_outcomes ({needed}), else probes pass unjudged"
            )
        return self

    @model_validator(mode="after")
    def _blocks_have_a_control(self) -> Self:
        rollout = self.supervisor.rollout
        asked = any(isinstance(c, ControlBreakerConfig) and c.control == "blocks" for c in self.checks)
        if asked and (rollout is None or (rollout.control_share == 0.0 and rollout.start == "full")):
            raise ValueError(
                "a control-breaker with control: blocks needs supervisor.rollout with a control_share above 0 or a "
                "canary stage, else the fallback has no blocks of its own to compare with"
            )
        return self

    @classmethod
    def for_routing(
        cls,
        *,
        capacity_per_s: float = 1.0,
        loads: tuple[float, ...] = (0.0,),
        shares: tuple[float, ...] = (0.1,),
        telemetry_delay_s: float = 0.1,
    ) -> Self:
        """The default guard for request routing.

        The cost margins hold three things that a router can spoil: the expected time to first token of this request,
        the backlog that it joins (what its end and those behind it wait for) and the decode step that it slows (the
        gaps between tokens).

        Args:
            capacity_per_s: Arrival rate that is load 1, a second.
            loads: Loads at which the fallback's share of violations is known; see
                :class:`~handrail.policies.guards.calibration.ReferenceCalibrator`. The default stands for no
                calibration: 10 % violations at any load.
            shares: The fallback's share of violations at each load.
            telemetry_delay_s: Age of what replicas report to the router, in seconds.
        """
        return cls(
            checks=(
                ContractConfig(),
                routing_plausibility(telemetry_delay_s),
                CostMarginConfig(field="ttft_s", absolute_margin=0.02, relative_margin=0.1),
                CostMarginConfig(field="drain_s", absolute_margin=1.0, relative_margin=0.1),
                CostMarginConfig(field="decode_step_s", absolute_margin=0.01, relative_margin=0.25),
                BreakerConfig(load_field="rate_60s", capacity_per_s=capacity_per_s, loads=loads, shares=shares),
            )
        )

    @classmethod
    def for_scheduling(
        cls,
        *,
        overdue_passes: int = 500,
        reservation_margin_s: float = 120.0,
        slowdown_margin: float = 0.5,
        loads: tuple[float, ...] = (0.0,),
        shares: tuple[float, ...] = (0.1,),
    ) -> Self:
        """The default guard for cluster scheduling.

        Args:
            overdue_passes: As in the cluster's config.
            reservation_margin_s: How far the head's reservation may slip through a backfilled job, in seconds.
            slowdown_margin: Expected bounded slowdown that a choice may cost the jobs that stand before it, above what
                the fallback's choice costs them.
            loads: Loads (``load_6h``) at which the fallback's share of violations is known; see
                :class:`~handrail.policies.guards.calibration.ReferenceCalibrator`. The default stands for no
                calibration: 10 % violations at any load.
            shares: The fallback's share of violations at each load.
        """
        return cls(
            checks=(
                ContractConfig(latency_budget_s=1.0),
                scheduling_plausibility(),
                IdlingConfig(),
                StarvationConfig(overdue_passes=overdue_passes),
                ReservationConfig(margin_s=reservation_margin_s),
                CostMarginConfig(field="displaced_slowdown", absolute_margin=slowdown_margin, relative_margin=0.1),
                BreakerConfig(load_field="load_6h", capacity_per_s=1.0, loads=loads, shares=shares),
            ),
            supervisor=SCHEDULING_SUPERVISOR,
        )

    @classmethod
    def for_prefetch(
        cls,
        *,
        waste_margin: float = 0.05,
        degree_margin: float = 4.0,
        excess_share: float = 0.05,
        budget_caches: float = 1.5,
        discount: float = 1.0,
        loads: tuple[float, ...] = (0.0,),
        shares: tuple[float, ...] = (0.1,),
    ) -> Self:
        """The default guard for cache prefetching. The budget needs a shadow cache (``ghost`` in the cache's config).

        Args:
            waste_margin: Fetches an access that nobody uses, as the shadow has it, beyond those of the fallback's arm.
            degree_margin: Degree beyond that of the fallback's arm. Fetches that are all used add no work, but those of
                one access stand together before whoever misses next.
            excess_share: Misses beyond the shadow cache's, as a share of these.
            budget_caches: Misses beyond that, in units of the cache's capacity in objects.
            discount: Factor on past counts of the budget at each decision.
            loads: Loads (``utilisation_slow``) at which the fallback's share of violations is known; see
                :class:`~handrail.policies.guards.calibration.ReferenceCalibrator`. The default stands for no
                calibration: 10 % violations at any load.
            shares: The fallback's share of violations at each load.
        """
        return cls(
            checks=(
                ContractConfig(),
                prefetch_plausibility(),
                GateConfig(),
                CostMarginConfig(field="waste", absolute_margin=waste_margin, relative_margin=0.1),
                CostMarginConfig(field="degree", absolute_margin=degree_margin),
                BudgetConfig(excess_share=excess_share, budget_caches=budget_caches, discount=discount),
                BreakerConfig(load_field="utilisation_slow", capacity_per_s=1.0, loads=loads, shares=shares),
            ),
            supervisor=PREFETCH_SUPERVISOR,
        )

    @classmethod
    def from_json(cls, text: str, source: str = "guard config") -> Self:
        """Read what :meth:`to_json` wrote.

        Args:
            text: A JSON object.
            source: What to call it in an error, such as the file's name.

        Raises:
            HandrailError: It is no JSON, or has an unknown, missing, repeated or bad field.
        """
        try:
            data = read_json(text)
        except RepeatedKey as error:
            raise HandrailError(f"{source}: {error}; remove one") from None
        except ValueError as error:
            raise HandrailError(f"{source}: no JSON ({error}); mend it or write it anew") from None
        return cls._from_data(data, source)

    @classmethod
    def from_yaml(cls, text: str, source: str = "guard config") -> Self:
        """Read a guard that is written in YAML, with the fields of :meth:`to_json`.

        Args:
            text: A YAML mapping.
            source: What to call it in an error, such as the file's name.

        Raises:
            HandrailError: It is no YAML, or has an unknown, missing, repeated or bad field.
        """
        try:
            data = read_yaml(text)
        except RepeatedKey as error:
            raise HandrailError(f"{source}: {error}; remove one") from None
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f"line {mark.line + 1}: " if mark is not None else ""
            problem = getattr(error, "problem", None) or "not to be read"
            raise HandrailError(f"{source}: {where}no YAML ({problem}); mend that line") from None
        return cls._from_data(data, source)

    @classmethod
    def _from_data(cls, data: Any, source: str) -> Self:
        if not isinstance(data, Mapping):
            what = "an empty file" if data is None else repr(data)
            raise HandrailError(f"{source}: a guard is a mapping with checks and supervisor, not {what}; mend the file")
        if "checks" not in data:
            raise HandrailError(f"{source}: it lists no checks; add them under checks ([] for a guard without any)")
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise HandrailError(f"{source}: {_first_problem(error)}") from None

    def to_yaml(self) -> str:
        """The config as a YAML mapping, in the order of the fields."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    def to_json(self) -> str:
        """The config as a JSON object with sorted keys, the same text for equal configs."""
        return json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True) + "\n"

    def only(self, *checks: str) -> Self:
        """This guard with the checks of the given kinds alone (``contract``, ``cost-margin``, ``breaker`` ...)."""
        return self.model_copy(update={"checks": tuple(c for c in self.checks if c.check in checks)})

    def with_checks(self, *checks: CheckModel) -> Self:
        """This guard with more checks."""
        return self.model_copy(update={"checks": (*self.checks, *checks)})


def build_guard(config: GuardConfig, layout: Layout) -> Guard:
    """A fresh guard, for one run.

    Raises:
        HandrailError: A check names a field that the layout does not have, or two checks are the same.
    """
    budgets_s = [check.latency_budget_s for check in config.checks if isinstance(check, ContractConfig)]
    checks = []
    for i, check in enumerate(config.checks):
        try:
            checks.append(build_check(check, layout))
        except HandrailError as error:
            raise HandrailError(f"the guard's checks.{i}.{check.check}: {error}") from None
    return Guard(
        checks,
        config.supervisor,
        latency_budget_s=min(budgets_s, default=None),
        charge=config.charge,
    )


def load_guard(path: str | Path) -> GuardConfig:
    """A guard from a file, YAML (``.yaml``, ``.yml``) or JSON (``.json``) by its suffix.

    Raises:
        HandrailError: It cannot be read, has another suffix, or is no guard.
    """
    path = Path(path)
    readers = {".yaml": GuardConfig.from_yaml, ".yml": GuardConfig.from_yaml, ".json": GuardConfig.from_json}
    read = readers.get(path.suffix.lower())
    if read is None:
        raise HandrailError(f"{path}: a guard is a file that ends in {', '.join(readers)}; rename it")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise HandrailError(f"{path}: cannot be read ({error}); name a guard's file in YAML or JSON") from None
    return read(text, str(path))


def _check_from(index: int, value: Any) -> CheckModel:
    """One check's config from data; a config stays as it is."""
    if isinstance(value, CheckModel):
        return value
    known = known_checks()
    if not isinstance(value, Mapping) or not isinstance(value.get("check"), str):
        raise PydanticCustomError(
            _BAD_CHECK, "checks.{i}: a check is a mapping with its name under check; mend it", {"i": index}
        )
    name = value["check"]
    if name not in known:
        raise PydanticCustomError(
            _BAD_CHECK,
            "checks.{i}.check: no check is named {name}; name one of {known}, or run from Python, where "
            "register_check makes known one of your own",
            {"i": index, "name": repr(name), "known": ", ".join(known)},
        )
    try:
        return known[name].model_validate(value)
    except ValidationError as error:
        problem = _first_problem(error, f"checks.{index}.{name}")
        raise PydanticCustomError(_BAD_CHECK, "{problem}", {"problem": problem}) from None


def _first_problem(error: ValidationError, prefix: str = "") -> str:
    """The first problem: where (under ``prefix``), and what."""
    first = error.errors(include_url=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == _BAD_CHECK:
        return message
    where = ".".join([*([prefix] if prefix else []), *(str(part) for part in first["loc"])]) or "top level"
    if first["type"] == NO_NUMBER:
        return f"{where}.{message}; mend it".removeprefix("top level.")
    if first["type"] == "missing":
        return f"{where} is missing; add it"
    return f"{where}: {message}; {'remove' if first['type'] == 'extra_forbidden' else 'mend'} it"
