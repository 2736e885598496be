"""What replays, comparisons, training and reports need to know of a domain, and nothing else knows of it.

A domain's *system* is what its simulator is built from beside the trace (a fleet of replicas, a cluster of machines).
Its *items* are what the trace has one row of each (requests, jobs).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ...envs.common import Layout
    from ...policies import OutcomeSignal
    from ...policies.guards import GuardConfig
    from ...policies.learning.tally import TrainingTally
    from ..finalists import Finalist, TrainingOptions
    from ..load import RateChange
    from ..report.spec import ReportSpec
    from ..scenario import Prepared, Scenario
    from ..splits import Margins

Say = Callable[[str], None]


class Domain(ABC):
    """One domain. Stateless: the same arguments give the same answers in any process.

    Attributes:
        name: What ``--domain`` calls it.
        item, items: The noun for a row of its traces, singular and plural; the plural is also the key in JSON.
        system_type: Type of its systems.
        scenario_type: Its scenario.
        margins: Gaps between splits, warm-up and cool-down.
        report: What its tables and figures show.
        default_load: Share of capacity that a comparison brings a trace to where nothing else is said; None where the
            domain's own rule says.
        heuristics: Names of its heuristics; it may hold more than it enumerates.
        algorithms: What ``--algo`` takes, the default first.
        load_field: Observation field with the arriving load, for the guard's breaker.
        bundled_folder: Folder of the policy that comes with handrail.
    """

    name: ClassVar[str]
    item: ClassVar[str]
    items: ClassVar[str]
    system_type: ClassVar[type]
    scenario_type: ClassVar[type[Scenario]]
    margins: ClassVar[Margins]
    report: ClassVar[ReportSpec]
    default_load: ClassVar[float | None]
    heuristics: ClassVar[Collection[str]]
    algorithms: ClassVar[tuple[str, ...]]
    load_field: ClassVar[str]
    bundled_folder: ClassVar[Path]

    @property
    def default_policy(self) -> str:
        """What decides where no policy is named."""
        return "bundled"

    # From a trace and a scenario to what is replayed

    @abstractmethod
    def check(self, scenario: Any) -> None:
        """Refuse a scenario whose options do not go together.

        Raises:
            HandrailError: They do not, or one of them is not understood.
        """

    @abstractmethod
    def system(self, scenario: Any, window: Any) -> Any:
        """The system under ``scenario`` for a trace's window, before that is split.

        Raises:
            HandrailError: The two do not fit.
        """

    @abstractmethod
    def check_part(self, part: Any) -> None:
        """Refuse a part of a trace that cannot be replayed.

        Raises:
            HandrailError: It cannot.
        """

    @abstractmethod
    def bring_to_load(self, part: Any, system: Any, scenario: Any, say: Say) -> tuple[Any, RateChange]:
        """Change the arrival rate of ``part`` as ``scenario`` says; return the changed trace and what was done.

        Raises:
            HandrailError: The rate or load cannot be reached.
        """

    @abstractmethod
    def change_rate(self, part: Any, system: Any, factor: float, method: str | None, seed: int) -> Any:
        """``part`` with its arrival rate multiplied by ``factor``; ``method`` as ``--load-by`` takes it."""

    @abstractmethod
    def capacity_per_s(self, prepared: Prepared, part: Any, say: Say) -> float:
        """The value of ``load_field`` that is load 1 for the guard's breaker.

        Args:
            prepared: What is compared.
            part: The same part of the trace as recorded.
            say: Told in a few words what takes time.
        """

    # From what is replayed to a run

    @abstractmethod
    def layout(self, system: Any) -> Layout:
        """Layout of the observations of a system."""

    @abstractmethod
    def simulator(self, system: Any, trace: Any, seed: int, measured_s: tuple[float, float] | None) -> Any:
        """A fresh simulator that asks a policy for its decisions.

        Raises:
            HandrailError: The trace cannot be replayed on this system.
        """

    @abstractmethod
    def observer(self, simulator: Any) -> Callable[[Any], NDArray[np.float32]]:
        """What turns the simulator's decision points into observations."""

    @abstractmethod
    def judge(self, objective: Any) -> Callable[[Any], OutcomeSignal]:
        """What turns an outcome of a decision point into what policies and guards hear of it."""

    @abstractmethod
    def make_policy(self, spec: str | Path, system: Any, seed: int = 0) -> Any:
        """The policy that ``--policy`` names, for a system's observations.

        Raises:
            HandrailError: There is none, or it cannot be loaded.
        """

    @abstractmethod
    def make_heuristic(self, name: str, system: Any, seed: int = 0, tie_seed: int | None = None) -> Any:
        """A heuristic by name, for a system's observations; with ``tie_seed`` its placebo.

        Raises:
            HandrailError: No heuristic has that name.
        """

    @abstractmethod
    def make_last_rung(self, system: Any) -> Any:
        """What decides behind a guard where the observation is not to be believed: a policy that needs no telemetry."""

    def rivals(self, system: Any) -> tuple[str, ...]:
        """Heuristics that a training on a system is compared with."""
        return tuple(self.heuristics)

    @abstractmethod
    def default_guard(self, system: Any) -> GuardConfig:
        """The guard, on a system, of a policy that brings none."""

    def fit_guard(self, guard: GuardConfig, system: Any) -> GuardConfig:
        """``guard`` without what cannot work on a system."""
        return guard

    # From a run to numbers

    @abstractmethod
    def metrics(self, results: Any, objective: Any) -> dict[str, Any]:
        """All metrics of a run, in JSON's types."""

    @abstractmethod
    def result_columns(self, results: Any) -> dict[str, NDArray[Any]]:
        """The columns of ``results-*.parquet``."""

    @abstractmethod
    def headline(self, results: Any) -> NDArray[np.float64]:
        """What the figure shows, one value an item, +inf where lost."""

    @abstractmethod
    def headline_limit(self, objective: Any, system: Any) -> float:
        """The objective of that on a system, as a line in the figure."""

    @abstractmethod
    def tails(self, results: Any, qs: Sequence[float]) -> NDArray[np.float64]:
        """Quantiles of what training shortens, over measured items, shape (latencies, len(qs)); +inf where lost."""

    # What reports say

    @abstractmethod
    def describe_run(self, prepared: Prepared, capacity_per_s: float) -> dict[str, Any]:
        """What ``run.json`` holds of the system and its capacity."""

    @abstractmethod
    def describe_system(self, prepared: Prepared) -> str:
        """The system in a few words, for titles."""

    def about(self, prepared: Prepared) -> dict[str, Any]:
        """What the JSON of a run says of its setting; ``oracle`` true where a scheduler knows what it could not."""
        return {}

    def notes(self, prepared: Prepared) -> list[str]:
        """What a reader of the results must know of the scenario itself."""
        return []

    # Training

    @abstractmethod
    def finalists(
        self,
        options: TrainingOptions,
        window: Any,
        train: Prepared,
        work: Path,
        *,
        fingerprint: str,
        seed: int,
        say: Say,
        on_progress: Callable[[float, float], None],
        tally: TrainingTally,
    ) -> list[Finalist]:
        """Train on ``train`` with ``options.algorithm``; return the networks among which validation chooses.

        Args:
            options: How to train.
            window: The part of the trace that is split, as recorded.
            train: Its train part, prepared.
            work: Folder for checkpoint and TensorBoard events.
            fingerprint: Names all that a checkpoint depends on.
            seed: Seed of the training windows.
            say: Told in a few words what is going on.
            on_progress: Told how far it is, and of how much.
            tally: Takes down what was missed while training, by algorithms that explore step by step.

        Raises:
            HandrailError: An option is out of range, or a package is missing.
        """

    @abstractmethod
    def training_settings(self, scenario: Any, options: TrainingOptions) -> dict[str, Any]:
        """Settings of a training for ``policy.json``: scalars by name."""
