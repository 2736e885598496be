"""What a cluster is made of and how it is scheduled. Frozen, unknown keys refused, units in the names."""

from __future__ import annotations

from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ...traces.errors import HandrailError

Discipline = Literal["fcfs", "sjf", "saf", "srtf", "las", "gittins", "f1", "f2", "f3", "f4", "wfp3", "unicep", "drf"]
Backfill = Literal["none", "easy", "conservative", "reference"]
Placement = Literal["random", "first-fit", "best-fit", "worst-fit", "packing", "fgd"]
Knowledge = Literal["none", "user_estimate", "predicted", "true"]
Protocol = Literal["standard", "rlscheduler"]

DISCIPLINES: tuple[str, ...] = get_args(Discipline)
BACKFILLS: tuple[str, ...] = get_args(Backfill)
PLACEMENTS: tuple[str, ...] = get_args(Placement)
KNOWLEDGE: tuple[str, ...] = get_args(Knowledge)
PREEMPTIVE: tuple[str, ...] = ("srtf", "las", "gittins")
"""Disciplines that take machines away from running jobs."""

MAX_MACHINES = 1_000_000
"""Largest cluster; more is taken for a slip."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class MachineGroup(_Strict):
    """Machines that are alike."""

    name: str = "machines"
    machines: int = Field(ge=1, le=MAX_MACHINES, description="how many")
    gpus: int = Field(default=8, ge=0, le=1024, description="GPUs of each")
    cpu_milli: int | None = Field(default=None, ge=1, description="thousandths of processors; None: never short")
    memory_mib: int | None = Field(default=None, ge=1, description="memory [MiB]; None: never short")
    gpu_type: str = Field(default="", description="GPU model, as jobs' gpu_types name it")
    speed: float = Field(default=1.0, gt=0, description="run times are divided by it")


class MachineOutage(_Strict):
    """One machine down in [start_s, end_s), in simulated seconds."""

    machine: int = Field(ge=0)
    start_s: float = Field(ge=0)
    end_s: float

    @model_validator(mode="after")
    def _ends_after_start(self) -> Self:
        if not self.end_s > self.start_s:
            raise ValueError("end_s must be after start_s")
        return self


class MachineSlowdown(_Strict):
    """Work on one machine proceeds at 1 / ``factor`` in [start_s, end_s), in simulated seconds."""

    machine: int = Field(ge=0)
    start_s: float = Field(ge=0)
    end_s: float
    factor: float = Field(ge=1, description="by which work takes longer; of overlapping ones the largest counts")

    @model_validator(mode="after")
    def _ends_after_start(self) -> Self:
        if not self.end_s > self.start_s:
            raise ValueError("end_s must be after start_s")
        return self


class ProcessorOutage(_Strict):
    """So many of the interchangeable processors are gone in [start_s, end_s), in simulated seconds."""

    start_s: float = Field(ge=0)
    end_s: float
    processors: int = Field(ge=1)

    @model_validator(mode="after")
    def _ends_after_start(self) -> Self:
        if not self.end_s > self.start_s:
            raise ValueError("end_s must be after start_s")
        return self


class Faults(_Strict):
    """What goes wrong. Everything random is drawn from streams of the simulator's seed, one a kind.

    A machine failure ends the jobs on it; they go back to the queue and resume from their last checkpoint. A job's own
    failure costs it a uniform share of what was left, back to its last checkpoint too. Where processors go away, the
    jobs that started last are stopped, as by a machine failure, until the others fit on what is left.

    A job on several machines runs at the pace of the slowest. A slowdown shows to nobody but by ends that come late;
    restoring a checkpoint takes as long as ever, and limits of run time are not extended.
    """

    outages: tuple[MachineOutage, ...] = ()
    slowdowns: tuple[MachineSlowdown, ...] = ()
    processor_outages: tuple[ProcessorOutage, ...] = ()
    machine_mtbf_s: float | None = Field(default=None, gt=0, description="mean up time of a machine, exponential [s]")
    machine_repair_s: float = Field(default=3600.0, gt=0, description="mean repair time, exponential [s]")
    job_failure_probability: float = Field(default=0.0, ge=0, le=1, description="of each attempt")
    max_attempts: int = Field(default=3, ge=1, description="own failures after which a job is given up")
    checkpoint_s: float | None = Field(default=None, gt=0, description="work between checkpoints [s]; None: none")
    straggler_probability: float = Field(default=0.0, ge=0, le=1, description="of each attempt")
    straggler_slowdown: float = Field(default=2.0, ge=1, description="by which a straggling attempt takes longer")


class Preemption(_Strict):
    """How the preemptive disciplines (SRTF, LAS, Gittins) take machines away."""

    quantum_s: float = Field(default=60.0, gt=0, description="least time between two rounds of preemption [s]")
    overhead_s: float = Field(default=30.0, ge=0, description="checkpoint and restore, paid at each resumption [s]")
    las_threshold_s: float = Field(
        default=3600.0, gt=0, description="attained GPU-seconds (processor-seconds) at which a job leaves queue 1"
    )


class ClusterConfig(_Strict):
    """A cluster and its standing scheduler.

    Either ``processors`` (interchangeable) or ``groups`` of machines. The *standing order* of waiting jobs is: those
    that are overdue first, first come first served among themselves, then as ``discipline`` says.
    """

    processors: int | None = Field(default=None, ge=1, le=10_000_000, description="interchangeable processors")
    groups: tuple[MachineGroup, ...] = ()
    discipline: Discipline = "fcfs"
    backfill: Backfill = "none"
    knowledge: Knowledge = Field(default="user_estimate", description="what is known of run times")
    placement: Placement = "best-fit"
    protocol: Protocol = Field(default="standard", description="rlscheduler: its commit rule and order of events")
    kill_at_limit: bool = Field(default=False, description="jobs end at their user's estimate (at speed 1)")
    wait_limit_s: float | None = Field(default=None, ge=0, description="wait after which a job is overdue [s]")
    overdue_passes: int = Field(default=500, ge=0, description="jobs that may pass an overdue one")
    quotas: dict[str, float] | None = Field(default=None, description="most GPUs (processors) of a tenant, by name")
    queueing: bool = Field(default=True, description="False: what does not fit when it arrives is rejected")
    window: int = Field(default=32, ge=1, le=4096, description="waiting jobs that a policy sees")
    preemption: Preemption = Preemption()
    faults: Faults = Faults()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.processors is None) == (not self.groups):
            raise ValueError("give either processors or groups of machines")
        if self.backfill == "reference" and self.protocol != "rlscheduler":
            raise ValueError("backfill 'reference' belongs to protocol 'rlscheduler'; use easy or conservative")
        if self.protocol == "rlscheduler" and self.backfill not in ("none", "reference"):
            raise ValueError("protocol 'rlscheduler' has backfill none or reference")
        if self.discipline in PREEMPTIVE and (self.backfill != "none" or self.protocol != "standard"):
            raise ValueError(f"{self.discipline} preempts; it goes with backfill none and protocol standard")
        if self.discipline in PREEMPTIVE and not self.queueing:
            raise ValueError(f"{self.discipline} preempts; what it preempts needs a queue")
        self._check_faults()
        return self

    def _check_faults(self) -> None:
        faults = self.faults
        if self.processors is not None:
            if faults.outages or faults.machine_mtbf_s is not None:
                raise ValueError("interchangeable processors have no machines to fail; use faults.processor_outages")
            if faults.slowdowns:
                raise ValueError("interchangeable processors have no machines to slow down; give groups of machines")
            self._check_processor_outages(self.processors)
            return
        if faults.processor_outages:
            raise ValueError("faults.processor_outages is for interchangeable processors; use faults.outages")
        n_machines = sum(group.machines for group in self.groups)
        for name, listed in (("outages", faults.outages), ("slowdowns", faults.slowdowns)):
            for entry in listed:
                if entry.machine >= n_machines:
                    raise ValueError(f"faults.{name} names machine {entry.machine} of {n_machines}")

    def _check_processor_outages(self, processors: int) -> None:
        for outage in self.faults.processor_outages:
            at_s = outage.start_s  # what is gone grows at starts alone
            gone = sum(o.processors for o in self.faults.processor_outages if o.start_s <= at_s < o.end_s)
            if gone > processors:
                raise ValueError(f"faults.processor_outages take {gone} of {processors} processors at {at_s:g} s")

    @classmethod
    def parse(cls, **values: Any) -> Self:
        """A config from option values.

        Raises:
            HandrailError: A field is unknown, out of range, or does not go with another.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            message = first["msg"].removeprefix("Value error, ")
            raise HandrailError(f"cluster config: {where + ': ' if where else ''}{message}") from None

    @property
    def size_unit(self) -> Literal["gpus", "processors"]:
        """What sizes of jobs and of the cluster count."""
        return "gpus" if any(group.gpus for group in self.groups) else "processors"

    @property
    def size(self) -> float:
        """GPUs in all; processors where there are no GPUs."""
        if self.processors is not None:
            return float(self.processors)
        gpus = sum(group.machines * group.gpus for group in self.groups)
        return float(gpus) if gpus else sum(group.machines * (group.cpu_milli or 0) for group in self.groups) / 1000
