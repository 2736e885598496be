"""Faults of the system under the policy: what goes into its config, by domain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import ValidationError

from ...traces.errors import HandrailError
from .context import StressContext
from .severities import SEVERITIES, Severities
from .stress import Kind, Stress

Window = tuple[float, float]
Inject = Callable[[Any, Window, Severities, np.random.Generator], Any]


@dataclass(frozen=True, slots=True)
class SystemFault(Stress):
    """One of the faults of ``SYSTEM_FAULTS``.

    Attributes:
        fault: Its name.
        severities: How bad it is.

    Raises:
        HandrailError: There is no such fault.
    """

    fault: str = "crash"
    severities: Severities = SEVERITIES
    kind: ClassVar[Kind] = "system"

    def __post_init__(self) -> None:
        Stress.__post_init__(self)
        if self.fault not in SYSTEM_FAULTS:
            raise HandrailError(f"no fault is named {self.fault!r}; choose one of {', '.join(SYSTEM_FAULTS)}")

    @property
    def label(self) -> str:
        return self.fault

    @property
    def severity(self) -> float | None:
        how = self.severities
        return {
            "crash": how.down_share,
            "straggler": how.straggler_factor,
            "cold-start": how.cold_factor,
            "slow-tier": how.tier_factor,
            "kv-cut": how.kv_kept,
        }[self.fault]

    def on_system(self, system: Any, context: StressContext) -> Any:
        inject = SYSTEM_FAULTS[self.fault].get(context.domain)
        if inject is None:
            there = [name for name, by_domain in SYSTEM_FAULTS.items() if context.domain in by_domain]
            raise HandrailError(
                f"{self.fault} means nothing to domain {context.domain}: {MEANINGLESS[self.fault]}; "
                f"there {'are' if len(there) > 1 else 'is'} {', '.join(there)}"
            )
        return inject(system, self.window_s(context), self.severities, context.rng(self.label))


def _changed(config: Any, **changes: Any) -> Any:
    """A config with some fields changed, checked anew.

    Raises:
        HandrailError: The result is no valid config.
    """
    values = {name: getattr(config, name) for name in type(config).model_fields}
    try:
        return type(config).model_validate({**values, **changes})
    except ValidationError as error:
        message = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise HandrailError(f"the fault does not fit the system: {message}") from None


def _added(config: Any, field: str, *items: dict[str, Any]) -> Any:
    """A config with items added to one of its tuples."""
    return _changed(config, **{field: (*getattr(config, field), *items)})


def _cold_times(window: Window, how: Severities) -> tuple[float, float]:
    """When it comes up, and when it is warm."""
    length_s = window[1] - window[0]
    up_s = window[0] + how.cold_down_share * length_s
    return up_s, min(up_s + how.cold_slow_share * length_s, window[1])


def _replica(fleet: Any, rng: np.random.Generator) -> int:
    if len(fleet.replicas) < 2:
        raise HandrailError("a fleet of one replica has none to spare; give it two or more (--replicas)")
    return int(rng.integers(len(fleet.replicas)))


def _llm_crash(fleet: Any, window: Window, how: Severities, rng: np.random.Generator) -> Any:
    return _added(fleet, "outages", {"replica": _replica(fleet, rng), "down_s": window[0], "up_s": window[1]})


def _llm_straggler(fleet: Any, window: Window, how: Severities, rng: np.random.Generator) -> Any:
    slow = {"replica": _replica(fleet, rng), "start_s": window[0], "end_s": window[1], "factor": how.straggler_factor}
    return _added(fleet, "slowdowns", slow)


def _llm_cold_start(fleet: Any, window: Window, how: Severities, rng: np.random.Generator) -> Any:
    replica, (up_s, warm_s) = _replica(fleet, rng), _cold_times(window, how)
    if up_s > window[0]:
        fleet = _added(fleet, "outages", {"replica": replica, "down_s": window[0], "up_s": up_s})
    slow = {"replica": replica, "start_s": up_s, "end_s": warm_s, "factor": how.cold_factor}
    return _added(fleet, "slowdowns", slow)


def _llm_kv_cut(fleet: Any, window: Window, how: Severities, rng: np.random.Generator) -> Any:
    cuts = [
        {"replica": replica, "start_s": window[0], "end_s": window[1], "share": how.kv_kept}
        for replica in range(len(fleet.replicas))
    ]
    return _added(fleet, "kv_cuts", *cuts)


def _machines(cluster: Any, how: Severities, rng: np.random.Generator) -> list[int]:
    total = sum(group.machines for group in cluster.groups)
    if total < 2:
        raise HandrailError("a cluster of one machine has none to spare; give it two or more")
    count = min(max(round(how.down_share * total), 1), total - 1)
    return sorted(rng.choice(total, size=count, replace=False).tolist())


def _with_faults(cluster: Any, field: str, *items: dict[str, Any]) -> Any:
    return _changed(cluster, faults=_added(cluster.faults, field, *items))


def _cluster_crash(cluster: Any, window: Window, how: Severities, rng: np.random.Generator) -> Any:
    when = {"start_s": window[0], "end_s": window[1]}
    if cluster.processors is not None:
        count = min(max(round(how.down_share * cluster.processors), 1), cluster.processors - 1)
        if count < 1:
            raise HandrailError("a cluster of one processor has none to spare; give it two or more")
        return _with_faults(cluster, "processor_outages", {**when, "processors": count})
    down = [{**when, "machine": machine} for machine in _machines(cluster, how, rng)]
    return _with_faults(cluster, "outages", *down)


def _slow_machines(cluster: Any, window: Window, machines: list[int], factor: float) -> Any:
    slow = [{"machine": m, "start_s": window[0], "end_s": window[1], "factor": factor} for m in machines]
    return _with_faults(cluster, "slowdowns", *slow)


def _need_machines(cluster: Any, fault: str) -> None:
    if cluster.processors is not None:
        raise HandrailError(f"{fault}: interchangeable processors are no machines that could be slow; there is crash")


def _cluster_straggler(cluster: Any, window: Window, how: Severities, rng: np.random.Generator) -> Any:
    _need_machines(cluster, "straggler")
    return _slow_machines(cluster, window, _machines(cluster, how, rng), how.straggler_factor)


def _cluster_cold_start(cluster: Any, window: Window, how: Severities, rng: np.random.Generator) -> Any:
    _need_machines(cluster, "cold-start")
    machines, (up_s, warm_s) = _machines(cluster, how, rng), _cold_times(window, how)
    if up_s > window[0]:
        down = [{"machine": m, "start_s": window[0], "end_s": up_s} for m in machines]
        cluster = _with_faults(cluster, "outages", *down)
    return _slow_machines(cluster, (up_s, warm_s), machines, how.cold_factor)


def _slow_tier(cache: Any, window: Window, how: Severities, rng: np.random.Generator) -> Any:
    slow = {"start_s": window[0], "end_s": window[1], "factor": how.tier_factor}
    return _changed(cache, tier=_added(cache.tier, "slowdowns", slow))


SYSTEM_FAULTS: dict[str, dict[str, Inject]] = {
    "crash": {"llm": _llm_crash, "cluster": _cluster_crash},
    "straggler": {"llm": _llm_straggler, "cluster": _cluster_straggler},
    "cold-start": {"llm": _llm_cold_start, "cluster": _cluster_cold_start},
    "slow-tier": {"prefetch": _slow_tier},
    "kv-cut": {"llm": _llm_kv_cut},
}
"""Faults by name, and what each is in each domain."""

MEANINGLESS = {
    "crash": "a cache has one tier behind it and no replica of it",
    "straggler": "a cache has one tier behind it and no replica of it",
    "cold-start": "a cache starts cold always",
    "slow-tier": "only a cache has a tier behind it",
    "kv-cut": "only LLM replicas have a KV cache",
}
