"""What a study of guards replays, declared in YAML; frozen, unknown keys refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ...policies.guards.plain_data import RepeatedKey, read_yaml
from ...traces.errors import HandrailError
from .. import configs
from ..domains import domain_named

DomainName = Literal["llm", "cluster", "prefetch"]
Role = Literal["clean", "shift", "system", "sensor", "policy", "adversary", "proof"]
Positive = Annotated[float, Field(gt=0)]
CLEAN = "none"
"""Text of the stress that changes nothing."""


class StudyModel(BaseModel):
    """Base of all parts."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Replicates(StudyModel):
    """How replicates of a trace are made.

    Attributes:
        kind: ``windows`` for disjoint windows of one realisation, ``realisations`` for superposed or thinned copies
            with other seeds, of which each replicate takes another stretch. A trace whose rate is not changed has one
            realisation; the seed then spreads its coarse time stamps or turns the tenants of a mix.
        count: How many.
        items: Items of each, its warm-up and cool-down among them; None for all that there are.
    """

    kind: Literal["windows", "realisations"] = "realisations"
    count: int = Field(default=3, ge=1)
    items: int | None = Field(default=None, ge=50)


class TraceSpec(StudyModel):
    """One trace of a study.

    Attributes:
        file: Path below the data folder, the name of a bundled trace, or ``mix`` for the mix of cache traces.
        scenario: Fields of the domain's scenario.
        system: Fields of the system's config that no scenario names.
        rows: Test rows [first, last) where the trace is not split by time; None for a split by time.
        validation_rows: Rows on which thresholds are fixed then.
        exact_estimates: Whether jobs ask for what they need (a log without requests).
        replicates: Its replicates.
        note: What a reader must know of it.
    """

    file: str
    scenario: dict[str, Any] = {}
    system: dict[str, Any] = {}
    rows: tuple[int, int | None] | None = None
    validation_rows: tuple[int, int | None] | None = None
    exact_estimates: bool = False
    replicates: Replicates = Replicates()
    note: str = ""

    @model_validator(mode="after")
    def _rows_come_in_pairs(self) -> Self:
        if (self.rows is None) != (self.validation_rows is None):
            raise ValueError("rows and validation_rows go together")
        for name in ("rows", "validation_rows"):
            given = getattr(self, name)
            if given is not None and not 0 <= given[0] < (math.inf if given[1] is None else given[1]):
                raise ValueError(f"{name} needs 0 <= first < last, got {list(given)}")
        return self


class Block(StudyModel):
    """A part of the matrix: all of its traces x loads x stresses x policies.

    Attributes:
        name: What reports call it.
        role: What it shows.
        traces: Names of traces.
        loads: Loads; None for the trace's own.
        stresses: Texts that ``parse_stress`` takes; ``none`` for no stress.
        policies: What ``--policy`` takes.
        replicates: Fewer replicates than the traces have; None for all.
        nulls: Whether the null guards run too.
        placebos: Runs of the fallback with other tie-breaks.
        counted: Whether its cells may count; False for cells that are only shown.
    """

    name: str
    role: Role
    traces: tuple[str, ...] = Field(min_length=1)
    loads: tuple[Positive | None, ...] = Field(default=(None,), min_length=1)
    stresses: tuple[str, ...] = Field(default=(CLEAN,), min_length=1)
    policies: tuple[str, ...] = Field(min_length=1)
    replicates: int | None = Field(default=None, ge=1)
    nulls: bool = False
    placebos: int = Field(default=1, ge=0)
    counted: bool = True


class Frontier(StudyModel):
    """The sweep of one factor on the guard's margins, on the validation part.

    Attributes:
        trace: Name of the trace.
        load: Its load.
        policies: Policies, of which those with a gain show what is kept, and all show the tail.
        factors: Factors on every margin of the guard.
    """

    trace: str
    load: Positive | None = None
    policies: tuple[str, ...] = Field(min_length=1)
    factors: tuple[Annotated[float, Field(ge=0)], ...] = Field(default=(0.5, 1.0, 2.0), min_length=1)


class DomainStudy(StudyModel):
    """The matrix of one domain.

    Attributes:
        traces: Traces by name.
        blocks: Parts of the matrix.
        learned: Policies to which gain, availability and nulls refer.
        guard: Guard config file that replaces the policy's own or the domain's default; None for those.
        frontier: The threshold sweep.
        left_out: Why traces at hand have no place in the matrix.
        switch_window_s: How long after a switch its tail is looked at, in simulated seconds.
        calibration_items: Most items of each calibration replay.
        repeated: Cells that run a second time in another process.
    """

    traces: Mapping[str, TraceSpec]
    blocks: tuple[Block, ...] = Field(min_length=1)
    learned: tuple[str, ...] = ("bundled",)
    guard: str | None = None
    frontier: Frontier | None = None
    left_out: Mapping[str, str] = {}
    switch_window_s: float = Field(default=10.0, gt=0)
    calibration_items: int = Field(default=20_000, ge=200)
    repeated: int = Field(default=3, ge=0)

    @model_validator(mode="after")
    def _traces_are_known(self) -> Self:
        named = [trace for block in self.blocks for trace in block.traces]
        named += [self.frontier.trace] if self.frontier else []
        unknown = sorted(set(named) - set(self.traces))
        if unknown:
            raise ValueError(f"no trace is named {', '.join(unknown)}; there are {', '.join(self.traces)}")
        names = [block.name for block in self.blocks]
        if len(set(names)) != len(names):
            raise ValueError("two blocks have the same name")
        unseen = sorted(set(self.learned) - {policy for block in self.blocks for policy in block.policies})
        if unseen:
            raise ValueError(f"learned names {', '.join(unseen)}, which no block has among its policies")
        return self

    @field_validator("guard")
    @classmethod
    def _guard_is_there(cls, value: str | None) -> str | None:
        if value is not None and not Path(value).is_file():
            raise ValueError(f"there is no file {value}, looked for from {Path.cwd()}")
        return value


class Bar(StudyModel):
    """What is asked of the guard; the defaults are the study's bar.

    Attributes:
        pooled: Most that the pooled tail may be of the fallback's, upper bound included.
        cell: Most that the simultaneous lower bound of a cell may be.
        gain: Least share of the learned policy's gain to keep.
        harmful: Tail of an unguarded policy over the fallback's from which it has failed.
        harmful_share: Least share of the shifted cells in which it must, or the study proves nothing.
        contained: Most that the tail may be of the fallback's from the detection of a fault on.
    """

    pooled: Positive = 1.02
    cell: Positive = 1.05
    gain: Positive = 0.90
    harmful: Positive = 1.5
    harmful_share: float = Field(default=0.2, ge=0, le=1)
    contained: Positive = 1.10


class StudyConfig(StudyModel):
    """A study.

    Attributes:
        name: What its folder is called.
        seed: Root of all seeds.
        split: Part of the traces that is judged; ``validation`` is for rehearsals.
        min_p99_items, min_p999_items: Measured items that a quantile needs, pooled over replicates.
        blocks_of_time: Parts of a replicate's time, for windows, switches and the hindsight oracle.
        resamples: Bootstrap resamples.
        bar: What is asked.
        domains: The matrix by domain.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    seed: int = Field(default=0, ge=0)
    split: Literal["test", "validation"] = "test"
    min_p99_items: int = Field(default=5_000, ge=1)
    min_p999_items: int = Field(default=50_000, ge=1)
    blocks_of_time: int = Field(default=48, ge=4, le=250)
    resamples: int = Field(default=1_000, ge=100)
    bar: Bar = Bar()
    domains: Mapping[DomainName, DomainStudy] = Field(min_length=1)

    @classmethod
    def from_yaml(cls, text: str, source: str) -> Self:
        """Read a config.

        Raises:
            HandrailError: It is no YAML, or a field is wrong.
        """
        try:
            config = cls.model_validate(read_yaml(text))
        except RepeatedKey as error:
            raise HandrailError(f"{source}: {error}; remove one") from None
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f" in line {mark.line + 1}" if mark is not None else ""
            raise HandrailError(f"{source}: no valid YAML{line}; mend it") from None
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "top level"
            message = first["msg"].removeprefix("Value error, ")
            raise HandrailError(f"{source}: {where}: {message}; mend that field") from None
        for domain_name, study in config.domains.items():
            for name, spec in study.traces.items():
                _check_scenario(domain_name, spec.scenario, f"{source}: domains.{domain_name}.traces.{name}.scenario")
        return config

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a config file.

        Raises:
            HandrailError: It cannot be read, or is no config.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise HandrailError(f"{path}: cannot be read ({error}); give a study config") from None
        return cls.from_yaml(text, str(path))


def bundled_config(name: str) -> StudyConfig:
    """A config that comes with handrail: ``guard_study_quick`` or ``guard_study_full``."""
    file = f"{name}.yaml"
    text = (files(configs) / file).read_text(encoding="utf-8")
    return StudyConfig.from_yaml(text, file)


def _check_scenario(domain_name: str, fields: Mapping[str, Any], where: str) -> None:
    try:
        domain_named(domain_name).scenario_type.model_validate(dict(fields))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise HandrailError(f"{where}.{'.'.join(map(str, first['loc']))}: {first['msg']}; mend it") from None
