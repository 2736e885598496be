"""The domain ``llm``: requests routed to a fleet of LLM serving replicas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ...envs.common import Layout
from ...envs.common.tails import quantiles
from ...envs.llm_serving import FleetConfig, RouterObserver, ServingSimulator, layout_for
from ...envs.llm_serving.metrics import Objective, compute_metrics, e2e_s, ttft_s
from ...policies import HEURISTICS, OutcomeSignal, bundled_folder, make_heuristic, make_policy
from ...policies.guards import GuardConfig
from ...policies.learning.tally import TrainingTally
from ...traces import RequestTrace
from ...traces.errors import HandrailError
from ..finalists import Finalist, TrainingOptions
from ..load import LoadChange, change_load, change_rate
from ..scenario import Prepared, Scenario
from ..splits import REQUEST_MARGINS
from .base import Domain, Say
from .llm_report import REPORT

DEFAULT_REPLICAS = "h100:2,a100:2"
DEFAULT_FALLBACK = "expected-drain"
"""The heuristic that validation shows to be the strongest; a constant, never chosen per run."""
DEFAULT_LOAD = 0.8

RESULT_COLUMNS = (
    "arrival_s",
    "prompt_tokens",
    "output_tokens",
    "scheduled_s",
    "first_token_s",
    "finish_s",
    "tokens_generated",
    "preemptions",
    "replica",
    "status",
    "measured",
    "longest_gap_s",
    "gap_p99_s",
)


class LLMScenario(Scenario):
    """What is replayed of an LLM trace, and on which fleet.

    Attributes:
        replicas: The fleet, as ``gpu:count,...``.
        preset: The replicas' scheduler.
        telemetry_delay_s: Age of what replicas report to the router, in seconds.
        objective: Service-level objective.
    """

    domain: ClassVar[str] = "llm"

    replicas: str = DEFAULT_REPLICAS
    preset: Literal["vllm-v1", "vllm-v0"] = "vllm-v1"
    telemetry_delay_s: float = Field(default=0.1, ge=0, allow_inf_nan=False)
    objective: Objective = Objective()
    fallback: str = DEFAULT_FALLBACK

    def fleet(self) -> FleetConfig:
        """The fleet's config.

        Raises:
            HandrailError: ``replicas`` is not understood.
        """
        return FleetConfig.parse(self.replicas, preset=self.preset, telemetry_delay_s=self.telemetry_delay_s)


def judged(objective: Objective) -> Callable[[Any], OutcomeSignal]:
    """A violation is a TTFT or a TPOT beyond the objective; what a guard sees of its size is the TTFT."""
    slo_ttft_s, slo_tbt_s = objective.slo_ttft_s, objective.slo_tbt_s

    def signal(outcome: Any) -> OutcomeSignal:
        violated = not (outcome.ttft_s <= slo_ttft_s and outcome.tpot_s <= slo_tbt_s)
        return OutcomeSignal(outcome.decision, violated, outcome.ttft_s)

    return signal


class LLMDomain(Domain):
    """LLM serving."""

    name = "llm"
    item = "request"
    items = "requests"
    system_type = FleetConfig
    scenario_type = LLMScenario
    margins = REQUEST_MARGINS
    report = REPORT
    default_load = DEFAULT_LOAD
    heuristics = tuple(HEURISTICS)
    algorithms = ("cem", "ppo", "dqn", "ppo-lagrangian", "bc-residual")
    load_field = "rate_60s"
    bundled_folder = bundled_folder("llm")

    def check(self, scenario: LLMScenario) -> None:
        scenario.fleet()

    def system(self, scenario: LLMScenario, window: RequestTrace) -> FleetConfig:
        return scenario.fleet()

    def check_part(self, part: RequestTrace) -> None:
        if (part.output_tokens < 1).any():
            raise HandrailError(
                f"{part.name}: failed requests (0 output tokens) cannot be replayed; drop or retry them"
            )

    def bring_to_load(
        self, part: RequestTrace, system: FleetConfig, scenario: LLMScenario, say: Say
    ) -> tuple[RequestTrace, LoadChange]:
        if scenario.load is not None:
            capacity_rps = self._capacity_rps(system, part, scenario, say)
            return change_load(part, scenario.load, capacity_rps, scenario.load_by, scenario.seed)
        factor = 1.0 if scenario.rate is None else scenario.rate
        return change_rate(part, factor, scenario.load_by or "compress", scenario.seed)

    def change_rate(
        self, part: RequestTrace, system: FleetConfig, factor: float, method: str | None, seed: int
    ) -> RequestTrace:
        return change_rate(part, factor, method, seed)[0]

    def capacity_per_s(self, prepared: Prepared, part: RequestTrace, say: Say) -> float:
        change = prepared.change
        assert isinstance(change, LoadChange)
        if change.capacity_rps is not None:
            return change.capacity_rps
        return self._capacity_rps(prepared.system, part, prepared.scenario, say)

    def _capacity_rps(self, fleet: FleetConfig, part: RequestTrace, scenario: LLMScenario, say: Say) -> float:
        from ..capacity import measure_capacity

        say("measuring the fleet's capacity")
        return measure_capacity(fleet, part, scenario.fallback, scenario.seed).per_s

    def layout(self, system: FleetConfig) -> Layout:
        return layout_for(len(system.replicas))

    def simulator(
        self, system: FleetConfig, trace: RequestTrace, seed: int, measured_s: tuple[float, float] | None
    ) -> ServingSimulator:
        return ServingSimulator(system, trace, seed, measured_s=measured_s)

    def observer(self, simulator: ServingSimulator) -> RouterObserver:
        return RouterObserver(simulator)

    def judge(self, objective: Objective) -> Callable[[Any], OutcomeSignal]:
        return judged(objective)

    def make_policy(self, spec: str | Path, system: FleetConfig, seed: int = 0) -> Any:
        return make_policy(spec, self.layout(system), seed)

    def make_heuristic(self, name: str, system: FleetConfig, seed: int = 0, tie_seed: int | None = None) -> Any:
        return make_heuristic(name, self.layout(system), seed, tie_seed)

    def make_last_rung(self, system: FleetConfig) -> Any:
        """Shortest backlog by the router's own count of what it sent and what came back."""
        return self.make_heuristic("own-books", system)

    def default_guard(self, system: FleetConfig) -> GuardConfig:
        return GuardConfig.for_routing(telemetry_delay_s=system.telemetry_delay_s)

    def metrics(self, results: Any, objective: Objective) -> dict[str, Any]:
        return compute_metrics(results, objective)

    def result_columns(self, results: Any) -> dict[str, NDArray[Any]]:
        return {name: np.asarray(getattr(results, name)) for name in RESULT_COLUMNS}

    def headline(self, results: Any) -> NDArray[np.float64]:
        return ttft_s(results)

    def headline_limit(self, objective: Objective, system: FleetConfig) -> float:
        return objective.slo_ttft_s

    def tails(self, results: Any, qs: Sequence[float]) -> NDArray[np.float64]:
        measured = np.asarray(results.measured)
        return np.array([quantiles(values[measured], qs) for values in (ttft_s(results), e2e_s(results))])

    def describe_run(self, prepared: Prepared, capacity_per_s: float) -> dict[str, Any]:
        replicas = prepared.system.resolved_replicas
        return {"fleet": [r.model_dump(mode="json") for r in replicas], "capacity_rps": capacity_per_s}

    def describe_system(self, prepared: Prepared) -> str:
        return prepared.scenario.replicas

    def finalists(
        self,
        options: TrainingOptions,
        window: RequestTrace,
        train: Prepared,
        work: Path,
        *,
        fingerprint: str,
        seed: int,
        say: Say,
        on_progress: Callable[[float, float], None],
        tally: TrainingTally,
    ) -> list[Finalist]:
        from .llm_training import routing_finalists

        return routing_finalists(
            options,
            window,
            train,
            work,
            fingerprint=fingerprint,
            seed=seed,
            say=say,
            on_progress=on_progress,
            tally=tally,
        )

    def training_settings(self, scenario: LLMScenario, options: TrainingOptions) -> dict[str, Any]:
        from .llm_training import routing_settings

        return routing_settings(scenario, options)


DOMAIN = LLMDomain()
