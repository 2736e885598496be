"""Options of LLM serving."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from ...traces.errors import HandrailError

if TYPE_CHECKING:
    from ...traces import RequestTrace
    from .options import TrafficOptions

PANEL = "Options of --domain llm"
DEFAULT_FAILURES = "drop"


@dataclass(frozen=True, slots=True)
class LLMOptions:
    """The fleet, its objective, and what becomes of failed requests; None where an option is not given."""

    domain: ClassVar[str] = "llm"

    replicas: Annotated[
        str | None,
        typer.Option(help="The fleet; by default h100:2,a100:2.", metavar="GPU:COUNT,...", rich_help_panel=PANEL),
    ] = None
    preset: Annotated[
        str | None,
        typer.Option(
            help="The replicas' scheduler; by default vllm-v1.", metavar="vllm-v1|vllm-v0", rich_help_panel=PANEL
        ),
    ] = None
    telemetry_delay: Annotated[
        float | None,
        typer.Option(
            help="Age of what replicas report, in seconds; by default 0.1.", metavar="SECONDS", rich_help_panel=PANEL
        ),
    ] = None
    slo_ttft: Annotated[
        float | None,
        typer.Option(
            help="Longest TTFT that attains the objective, in seconds; by default 1.",
            metavar="SECONDS",
            rich_help_panel=PANEL,
        ),
    ] = None
    slo_tbt: Annotated[
        float | None,
        typer.Option(
            help="Longest TPOT that attains the objective, in seconds; by default 0.1.",
            metavar="SECONDS",
            rich_help_panel=PANEL,
        ),
    ] = None
    failures: Annotated[
        str | None,
        typer.Option(
            help="Failed requests (0 output tokens): drop (the default) or retry.",
            metavar="drop|retry",
            rich_help_panel=PANEL,
        ),
    ] = None

    def scenario_fields(self) -> dict[str, Any]:
        """What of the scenario these options set."""
        objective = {"slo_ttft_s": self.slo_ttft, "slo_tbt_s": self.slo_tbt}
        fields = {
            "replicas": self.replicas,
            "preset": self.preset,
            "telemetry_delay_s": self.telemetry_delay,
            "objective": {name: value for name, value in objective.items() if value is not None},
        }
        return {name: value for name, value in fields.items() if value is not None}

    def check(self) -> None:
        """Refuse, before any work, what no scenario knows of.

        Raises:
            HandrailError: ``--failures`` has no such value.
        """
        if self.failures not in (None, "drop", "retry"):
            raise HandrailError(f"--failures {self.failures!r}: choose drop or retry (a failed request has no length)")

    def read_trace(self, traffic: TrafficOptions) -> RequestTrace:
        """Load a trace as the options say.

        Raises:
            HandrailError: An option or the file is wrong.
        """
        from ...traces import load_trace

        failures = self.failures or DEFAULT_FAILURES
        return load_trace(traffic.trace, mapping=traffic.mapping(), failures=failures, sort=traffic.sort)

    def compare_words(self, scenario: Any) -> list[str]:
        """The scenario's own options in full, as on the command line of ``compare``."""
        objective = scenario.objective
        words = ["--replicas", scenario.replicas, "--preset", scenario.preset, "--fallback", scenario.fallback]
        words += ["--telemetry-delay", str(scenario.telemetry_delay_s), "--seed", str(scenario.seed)]
        words += ["--slo-ttft", str(objective.slo_ttft_s), "--slo-tbt", str(objective.slo_tbt_s)]
        return [*words, "--failures", self.failures or DEFAULT_FAILURES]

    def train_words(self, scenario: Any) -> list[str]:
        """The same for ``train``."""
        objective = scenario.objective
        words = ["--replicas", scenario.replicas, "--preset", scenario.preset]
        words += ["--telemetry-delay", str(scenario.telemetry_delay_s), "--fallback", scenario.fallback]
        words += ["--slo-ttft", str(objective.slo_ttft_s), "--slo-tbt", str(objective.slo_tbt_s)]
        return [*words, "--seed", str(scenario.seed), "--failures", self.failures or DEFAULT_FAILURES]
