"""What a run folder, a title and the notes say of a stress."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...policies.isolated import NOT_REPRODUCIBLE
from ..scenario import Prepared
from .run import context_of
from .sensor_faults import SensorFault
from .severities import SEVERITIES
from .stress import Stress


def stress_entry(prepared: Prepared, stress: Stress, isolate_s: float | None = None) -> dict[str, Any]:
    """Entries of ``run.json`` and ``metrics.json``; none where nothing goes wrong and nothing is isolated.

    ``stress`` has the name, each part with its window in simulated seconds, and all severities; ``isolation`` the
    time-out and that the run is not reproducible.
    """
    entry: dict[str, Any] = {}
    if stress.parts:
        context = context_of(prepared)
        parts = [
            {
                "name": part.name,
                "kind": part.kind,
                "severity": part.severity,
                "window_s": list(part.window_s(context)),
            }
            for part in stress.parts
        ]
        entry["stress"] = {"name": stress.name, "parts": parts, "severities": SEVERITIES.model_dump(mode="json")}
    if isolate_s is not None:
        entry["isolation"] = {"timeout_s": isolate_s, "reproducible": False}
    return entry


def stress_notes(prepared: Prepared, stress: Stress, isolate_s: float | None = None) -> list[str]:
    """Sentences for a reader of the results."""
    notes: list[str] = []
    if stress.parts:
        start_s, end_s = stress.window_s(context_of(prepared))
        notes.append(f"under stress {stress.name}, from {start_s:.1f} to {end_s:.1f} s")
    if any(isinstance(part, SensorFault) and part.reach == "all" for part in stress.parts):
        notes.append("the fallback is deceived too: compare with its run on clean sensors")
    if isolate_s is not None:
        notes.append(NOT_REPRODUCIBLE)
    return notes


def stress_title(run: Mapping[str, Any]) -> str:
    """What a title adds for the stress of a run's entries; empty without one."""
    return f", {run['stress']['name']}" if "stress" in run else ""
