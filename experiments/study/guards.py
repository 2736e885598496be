"""The guard of a cell: the policy's or the domain's, with its breaker's reference measured on the validation part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.common import Layout
from ...policies import bundled_folder
from ...policies.guards import (
    CostMarginConfig,
    GuardConfig,
    GuardedPolicy,
    ObservedSample,
    build_guard,
)
from ..domains import domain_named
from ..guarding import (
    CALIBRATION_FACTORS,
    CalibrationJob,
    CalibrationRun,
    calibrated,
    guard_thresholds,
    run_calibration,
    scaled_margins,
)
from ..scenario import Prepared
from .config import DomainStudy, TraceSpec
from .realise import judged_part, realise

VALIDATION = "validation"
PRETRAINED = "pretrained:"
"""Before the name of a policy folder that comes with handrail."""


def policy_spec(policy: str) -> str:
    """What ``--policy`` takes for a policy of the config: ``pretrained:NAME`` becomes a folder."""
    if not policy.startswith(PRETRAINED):
        return policy
    return str(bundled_folder("llm").parent / policy.removeprefix(PRETRAINED))


def measure_reference(
    domain_name: str, spec: TraceSpec, data: Path, load: float | None, items: int, seed: int
) -> tuple[float, list[CalibrationRun]]:
    """What the fallback violates and observes at some loads of the validation part.

    Returns:
        The capacity that the breaker takes loads by, and each calibration replay.
    """
    domain = domain_named(domain_name)
    ready = realise(domain_name, spec, data, VALIDATION, load, 0, seed)
    _, part, _ = judged_part(domain_name, spec, data, VALIDATION, 0)
    capacity_per_s = domain.capacity_per_s(ready, part, lambda _: None)
    change = ready.change
    method = change.method if change.method in ("superpose", "compress") else None
    runs = []
    for share in CALIBRATION_FACTORS:
        trace = domain.change_rate(part, ready.system, share * change.factor, method, seed).head(items)
        runs.append(run_calibration(CalibrationJob(ready.system, trace, ready.scenario, capacity_per_s)))
    return capacity_per_s, runs


def pack(capacity_per_s: float, runs: Sequence[CalibrationRun]) -> dict[str, NDArray[Any]]:
    """Calibration replays as arrays."""
    arrays: dict[str, NDArray[Any]] = {"capacity_per_s": np.array([capacity_per_s])}
    for number, run in enumerate(runs):
        arrays[f"loads.{number}"] = np.array(run.loads, dtype=np.float64)
        arrays[f"violated.{number}"] = np.array(run.violated, dtype=bool)
        for name in ("rows", "low", "high"):
            arrays[f"{name}.{number}"] = getattr(run.sample, name)
    return arrays


def unpack(arrays: Mapping[str, NDArray[Any]], layout: Layout) -> tuple[float, list[CalibrationRun]]:
    """What :func:`pack` has packed."""
    runs = []
    for number in range(len(CALIBRATION_FACTORS)):
        sample = ObservedSample(*(arrays[f"{name}.{number}"] for name in ("rows", "low", "high")))
        loads, violated = arrays[f"loads.{number}"].tolist(), arrays[f"violated.{number}"].tolist()
        runs.append(CalibrationRun(loads, violated, layout, sample))
    return float(arrays["capacity_per_s"][0]), runs


def guard_for(
    study: DomainStudy,
    policy: str,
    prepared: Prepared,
    reference: Mapping[str, NDArray[Any]],
    margin_factor: float = 1.0,
) -> GuardConfig:
    """The guard of ``policy``, calibrated, with its margins scaled by ``margin_factor``."""
    config = guard_thresholds(policy_spec(policy), prepared.system, None if study.guard is None else Path(study.guard))
    capacity_per_s, runs = unpack(reference, prepared.domain.layout(prepared.system))
    return scaled_margins(calibrated(config, capacity_per_s, runs), margin_factor)


def assembler(config: GuardConfig, prepared: Prepared) -> Callable[[Any, Any, Layout], GuardedPolicy]:
    """What puts this guard around a policy and its fallback."""
    domain, system = prepared.domain, prepared.system

    def assemble(policy: Any, fallback: Any, layout: Layout) -> GuardedPolicy:
        guard, digest = build_guard(config, layout), getattr(policy, "policy_hash", "") or ""
        return GuardedPolicy(policy, fallback, guard, layout, domain.make_last_rung(system), digest)

    return assemble


def margin_fields(config: GuardConfig) -> tuple[str, ...]:
    """Fields of the guard's cost margins that are in seconds: the action checks' model as one rule."""
    fields = [check.field for check in config.checks if isinstance(check, CostMarginConfig)]
    return tuple(name for name in fields if name.endswith("_s"))
