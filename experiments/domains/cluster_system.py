"""From a scenario and a trace to the cluster under it: machines, quotas, and what is known of run times."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from pydantic import Field

from ...envs.cluster import ClusterConfig, Faults, MachineGroup
from ...envs.cluster.config import DISCIPLINES, Backfill, Discipline, Knowledge, Placement, Protocol
from ...envs.cluster.default_cluster import WAIT_LIMIT_S, default_cluster
from ...envs.cluster.metrics import Objective
from ...traces import JobTrace
from ...traces.errors import HandrailError
from ..scenario import Scenario

DEFAULT_FALLBACK = "sjf"
"""Shortest job first with EASY backfilling; a constant, never chosen per run."""

QUOTA_HEADROOM = 4.0
"""A tenant may hold so many times its share of the offered work, so that it can use what others leave idle."""

Quotas = Literal["none", "proportional"]
QUOTAS: tuple[str, ...] = get_args(Quotas)


class ClusterScenario(Scenario):
    """What is replayed of a job trace, and on which cluster.

    Attributes:
        processors: Interchangeable processors; None where machines are given, or the trace says it.
        machines: Machines as ``GPUSxMACHINES``; None where processors or groups are given, or the trace sizes them.
        groups: Groups of machines, from a node list.
        nodes: What that list is called.
        discipline: Standing order, and what rules where no policy does; None for the fallback's order.
        backfill: What the standing scheduler backfills; a policy backfills by itself.
        knowledge: What is known of run times; None for the user's estimates where every job has one, else predictions.
        placement: Which machines a job gets.
        protocol: Rules of the standing scheduler.
        wait_limit_s: Wait after which a job is overdue, in seconds; None for never.
        quotas: Whether tenants have quotas; None for ``proportional`` where the trace sizes the cluster.
        faults: What goes wrong.
        stretch: Whether a trace that offers more than the cluster can take is stretched.
        objective: Service-level objective.
    """

    domain: ClassVar[str] = "cluster"

    processors: int | None = Field(default=None, ge=1, le=10_000_000)
    machines: str | None = None
    groups: tuple[MachineGroup, ...] = ()
    nodes: str | None = None
    discipline: Discipline | None = None
    backfill: Backfill = "none"
    knowledge: Knowledge | None = None
    placement: Placement = "best-fit"
    protocol: Protocol = "standard"
    wait_limit_s: float | None = Field(default=WAIT_LIMIT_S, ge=0, allow_inf_nan=False)
    quotas: Quotas | None = None
    faults: Faults = Faults()
    stretch: bool = True
    objective: Objective = Objective()
    fallback: str = DEFAULT_FALLBACK

    def check(self) -> None:
        """Refuse options that do not go together.

        Raises:
            HandrailError: They do not, or ``machines`` is not understood.
        """
        named = [
            f"--{name}"
            for name, value in (("processors", self.processors), ("machines", self.machines), ("nodes", self.groups))
            if value
        ]
        if len(named) > 1:
            raise HandrailError(f"{' and '.join(named)} both say what the cluster is; give one of them")
        self._machine_group()
        if self.backfill == "reference" and self.protocol != "rlscheduler":
            raise HandrailError("--backfill reference belongs to --protocol rlscheduler; add it, or use easy")

    def _machine_group(self) -> MachineGroup | None:
        if self.machines is None:
            return None
        gpus, by, count = self.machines.partition("x")
        if not (by and gpus.isdecimal() and count.isdecimal() and int(count) >= 1):
            raise HandrailError(f"--machines {self.machines!r} is not GPUSxMACHINES, as in 8x64")
        if not 1 <= int(gpus) <= 1024 or int(count) > 1_000_000:
            raise HandrailError(f"--machines {self.machines!r}: give 1 to 1,000,000 machines of 1 to 1,024 GPUs")
        return MachineGroup(machines=int(count), gpus=int(gpus))

    @property
    def is_sized_by_trace(self) -> bool:
        """Whether no option says what the cluster is."""
        return self.processors is None and self.machines is None and not self.groups


def cluster_for(scenario: ClusterScenario, window: JobTrace) -> ClusterConfig:
    """The cluster under ``scenario`` for a trace's window.

    Raises:
        HandrailError: Nothing says how large it is, or the options do not go together.
    """
    discipline = scenario.discipline
    if discipline is None:
        discipline = scenario.fallback if scenario.fallback in DISCIPLINES else "fcfs"
    hardware = _hardware(scenario, window)
    values: dict[str, Any] = {
        **hardware,
        "discipline": discipline,
        "backfill": scenario.backfill,
        "knowledge": known(scenario, window),
        "placement": scenario.placement,
        "protocol": scenario.protocol,
        "wait_limit_s": scenario.wait_limit_s,
        "faults": scenario.faults,
    }
    config = ClusterConfig.parse(**values)
    if quota_rule(scenario, window) == "proportional":
        config = config.model_copy(update={"quotas": proportional_quotas(window, config.size)})
    return config


def known(scenario: ClusterScenario, window: JobTrace) -> str:
    """What is known of run times: as asked, else the user's estimates where every job has one, else predictions.

    RLScheduler's protocol takes the run time where an estimate is missing.
    """
    if scenario.knowledge is not None:
        return scenario.knowledge
    has_all = not bool(np.isnan(window.estimate_s).any())
    return "user_estimate" if has_all or scenario.protocol == "rlscheduler" else "predicted"


def quota_rule(scenario: ClusterScenario, window: JobTrace) -> str:
    """``none`` or ``proportional``: as asked, else quotas where the cluster is sized by a GPU trace with tenants."""
    if scenario.quotas is not None:
        return scenario.quotas
    sized = scenario.is_sized_by_trace and _asks_for_gpus(window)
    return "proportional" if sized and len(window.tenant_names) > 1 else "none"


def proportional_quotas(window: JobTrace, cluster_size: float) -> dict[str, float]:
    """Most GPUs (processors) that each tenant may hold: its share of the work, with headroom.

    Never less than the tenant's largest job and never more than the cluster.

    Raises:
        HandrailError: The trace has no tenants, or jobs that never end.
    """
    if window.tenant is None or not window.tenant_names:
        raise HandrailError(f"{window.name}: --quotas proportional needs tenants, which this trace does not have")
    total_s = float(window.area_s.sum())
    if not 0 < total_s < math.inf:
        raise HandrailError(f"{window.name}: --quotas proportional needs jobs that end; use --quotas none")
    quotas: dict[str, float] = {}
    for code, name in enumerate(window.tenant_names):
        rows = window.tenant == code
        share = float(window.area_s[rows].sum()) / total_s
        largest = float(window.size[rows].max(initial=0.0))
        quotas[name] = min(max(math.ceil(QUOTA_HEADROOM * share * cluster_size), largest), cluster_size)
    return quotas


def describe_cluster(config: ClusterConfig) -> str:
    """The cluster in a few words."""
    if config.processors is not None:
        return f"{config.processors:,} processors"
    machines = sum(group.machines for group in config.groups)
    kinds = {group.gpus for group in config.groups}
    of = f" of {next(iter(kinds))} GPUs" if len(kinds) == 1 else f" with {config.size:,.0f} GPUs"
    return f"{machines:,} machines{of}"


def _hardware(scenario: ClusterScenario, window: JobTrace) -> dict[str, Any]:
    group = scenario._machine_group()
    if _asks_for_gpus(window) and scenario.processors is not None:
        raise HandrailError(f"{window.name}: its jobs ask for GPUs; give --machines GPUSxMACHINES, not --processors")
    if not _asks_for_gpus(window) and group is not None:
        raise HandrailError(f"{window.name}: its jobs ask for processors; give --processors N, not --machines")
    if group is not None:
        return {"groups": (group,)}
    if scenario.groups:
        return {"groups": scenario.groups}
    if scenario.processors is not None:
        return {"processors": scenario.processors}
    if not _asks_for_gpus(window) and window.processors is None:
        raise HandrailError(f"{window.name}: its header does not say how many processors there are; add --processors N")
    if not (math.isfinite(float(window.area_s.sum())) and window.duration_s > 0) and window.processors is None:
        raise HandrailError(
            f"{window.name}: it offers no finite load to size the cluster by; add --machines GPUSxMACHINES"
        )
    sized = default_cluster(window)
    return {"processors": sized.processors, "groups": sized.groups}


def _asks_for_gpus(window: JobTrace) -> bool:
    return bool((window.gpu_milli > 0).any())
