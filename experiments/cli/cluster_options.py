"""Options of cluster scheduling."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from ...traces.errors import HandrailError

if TYPE_CHECKING:
    from ...traces import JobTrace
    from .options import TrafficOptions

PANEL = "Options of --domain cluster"
OFF = "off"


def _option(text: str, metavar: str | None = None, minimum: float | None = None) -> Any:
    return typer.Option(help=text, metavar=metavar, min=minimum, rich_help_panel=PANEL)


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """The cluster, its standing scheduler and the objective; None where an option is not given."""

    domain: ClassVar[str] = "cluster"

    processors: Annotated[int | None, _option("Processors; by default as the trace's header says.", "N", 1)] = None
    machines: Annotated[
        str | None, _option("Machines; by default 8-GPU servers at a load of 0.8.", "GPUSxMACHINES")
    ] = None
    nodes: Annotated[str | None, _option("Node list (openb format) that says what the machines are.", "FILE")] = None
    placement: Annotated[
        str | None,
        _option("Which machines a job gets; best-fit.", "random|first-fit|best-fit|worst-fit|packing|fgd"),
    ] = None
    knowledge: Annotated[
        str | None,
        _option("What is known of run times; by default what a trace tells.", "none|user_estimate|predicted|true"),
    ] = None
    wait_limit: Annotated[
        str | None, _option("Wait after which a job goes first; for policies 14 days.", f"SECONDS|{OFF}")
    ] = None
    quotas: Annotated[str | None, _option("Quotas of tenants.", "none|proportional")] = None
    protocol: Annotated[str | None, _option("Rules of the standing scheduler.", "standard|rlscheduler")] = None
    backfill: Annotated[
        str | None,
        _option(
            "What --discipline backfills; by default none.",
            "none|easy|conservative|reference",
        ),
    ] = None
    slo_slowdown: Annotated[
        float | None, _option("Largest bounded slowdown that attains the objective; 10.", "RATIO")
    ] = None
    slo_wait: Annotated[float | None, _option("Longest wait that attains the objective; 3600.", "SECONDS")] = None

    def scenario_fields(self) -> dict[str, Any]:
        """What of the scenario these options set, where a policy decides.

        Raises:
            HandrailError: An option is not understood, or is of no use to a policy.
        """
        if self.backfill is not None and self.protocol != "rlscheduler":
            raise HandrailError("--backfill goes with replay's --discipline; a policy backfills by its own choices")
        return self._fields(wait_limit_s=None if self.protocol == "rlscheduler" else ...)

    def native_fields(self, discipline: str | None) -> dict[str, Any]:
        """The same where the standing scheduler decides."""
        fields = self._fields(wait_limit_s=None if discipline is not None else ...)
        if discipline is not None:
            fields["discipline"] = discipline
        elif self.backfill is None:
            fields["backfill"] = "easy"
        return fields

    def _fields(self, wait_limit_s: Any) -> dict[str, Any]:
        knowledge = None if self.knowledge is None else self.knowledge.replace("-", "_")
        objective = {"slo_slowdown": self.slo_slowdown, "slo_wait_s": self.slo_wait}
        fields = {
            "processors": self.processors,
            "machines": self.machines,
            "placement": self.placement,
            "knowledge": knowledge,
            "quotas": self.quotas,
            "protocol": self.protocol,
            "backfill": self.backfill,
        }
        fields = {name: value for name, value in fields.items() if value is not None}
        fields["objective"] = {name: value for name, value in objective.items() if value is not None}
        if self.nodes is not None:
            from ...traces import read_nodes
            from ..cluster_allocation import machine_groups

            fields |= {"groups": machine_groups(read_nodes(self.nodes)), "nodes": Path(self.nodes).name}
        if self.wait_limit is not None:
            wait_limit_s = _seconds_or_off(self.wait_limit)
        return fields if wait_limit_s is ... else {**fields, "wait_limit_s": wait_limit_s}

    def check(self) -> None:
        """Nothing that the scenario does not check."""

    def read_trace(self, traffic: TrafficOptions) -> JobTrace:
        """Load a trace as the options say.

        Raises:
            HandrailError: An option or the file is wrong.
        """
        from ...traces import load_job_trace

        return load_job_trace(traffic.trace, mapping=traffic.mapping(), sort=traffic.sort)

    def compare_words(self, scenario: Any) -> list[str]:
        """The scenario's own options, as on the command line of ``compare``."""
        words = []
        for name in ("processors", "machines", "nodes", "knowledge", "quotas"):
            value = getattr(scenario, name)
            words += [] if value is None else [f"--{name}", str(value)]
        limit = OFF if scenario.wait_limit_s is None else str(scenario.wait_limit_s)
        words += ["--placement", scenario.placement, "--protocol", scenario.protocol, "--wait-limit", limit]
        words += [] if scenario.backfill == "none" else ["--backfill", scenario.backfill]
        objective = scenario.objective
        words += ["--slo-slowdown", str(objective.slo_slowdown), "--slo-wait", str(objective.slo_wait_s)]
        return [*words, "--fallback", scenario.fallback, "--seed", str(scenario.seed)]

    train_words = compare_words


def _seconds_or_off(text: str) -> float | None:
    if text == OFF:
        return None
    try:
        return float(text)
    except ValueError:
        raise HandrailError(f"--wait-limit {text!r} is neither a number of seconds nor {OFF}") from None


@dataclass(frozen=True, slots=True)
class NativeOptions:
    """What ``replay`` has besides: the standing scheduler itself, sequences, and filling a cluster."""

    domain: ClassVar[str] = "cluster"

    discipline: Annotated[
        str | None,
        _option(
            "Let the cluster's own scheduler decide, in this order; no policy is asked.",
            "fcfs|sjf|saf|srtf|las|gittins|f1|f2|f3|f4|wfp3|unicep|drf",
        ),
    ] = None
    starts: Annotated[
        str | None, _option("Replay sequences of jobs that start at these rows (0-based).", "ROW,ROW,...")
    ] = None
    length: Annotated[int | None, _option("Jobs a sequence; 1024.", "N", 1)] = None
    arrivals: Annotated[float | None, _option("With --no-departures: GPUs asked for over the cluster's; 1.3.", "F")] = (
        None
    )
    no_departures: Annotated[
        bool | None,
        typer.Option(
            "--no-departures", help="Only fill the machines of --nodes under --placement.", rich_help_panel=PANEL
        ),
    ] = None
