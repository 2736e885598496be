"""What a system can serve of a trace: its throughput with all arrivals at time 0 under the fallback.

The measurement is kept on disk under a hash of everything that it depends on, the code included, so that the cache
changes how long a command takes and never what it says.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..traces.errors import HandrailError
from .domains import domain_of
from .provenance import source_hash, versions
from .replay import replay
from .splits import whole_window

CACHE_ENVIRONMENT = "XDG_CACHE_HOME"


@dataclass(frozen=True, slots=True)
class Capacity:
    """Items dealt with, and the simulated seconds until the last of them ended."""

    items: int
    makespan_s: float

    @property
    def per_s(self) -> float:
        """Items a second."""
        return self.items / self.makespan_s


def measure_capacity(system: Any, trace: Any, fallback: str, seed: int = 0) -> Capacity:
    """Replay ``trace`` with all arrivals at time 0 under the heuristic ``fallback``, or read it from the cache.

    Raises:
        HandrailError: Nothing of the trace can be served by this system.
    """
    domain = domain_of(system)
    path = _cache_folder() / f"{_key(system, trace, fallback, seed)}.json"
    cached = _read(path)
    if cached is not None:
        return cached
    at_once = trace.replace(arrival_s=np.zeros(len(trace)))
    objective = domain.scenario_type().objective
    run = replay(system, at_once, fallback, objective, seed=seed, measured=whole_window())
    ends = run.results.finish_s[np.isfinite(run.results.finish_s)] if run.results is not None else np.empty(0)
    if len(ends) == 0 or not ends.max() > 0:
        raise HandrailError(
            f"{trace.name}: the system serves none of its {domain.items}, so it has no capacity to load"
        )
    capacity = Capacity(len(trace), float(ends.max()))
    _write(path, capacity)
    return capacity


def _key(system: Any, trace: Any, fallback: str, seed: int) -> str:
    depends_on = {
        "trace": trace.content_hash,
        "system": system.model_dump(mode="json"),
        "fallback": fallback,
        "seed": seed,
        "sources": source_hash(),
        "versions": versions(),
    }
    return hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()


def _cache_folder() -> Path:
    root = os.environ.get(CACHE_ENVIRONMENT) or str(Path.home() / ".cache")
    return Path(root) / "handrail" / "capacity"


def _read(path: Path) -> Capacity | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        capacity = Capacity(int(content["items"]), float(content["makespan_s"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return capacity if capacity.items > 0 and capacity.makespan_s > 0 else None


def _write(path: Path, capacity: Capacity) -> None:
    # Only speed is lost where there is no place to write.
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"items": capacity.items, "makespan_s": capacity.makespan_s}, file)
        os.replace(temporary, path)
