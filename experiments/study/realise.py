"""From a trace of the config to one replicate, ready to replay.

Replicates are disjoint windows of the judged part, or realisations: superposed or thinned copies with other seeds, of
which each replicate takes another stretch. Realisations of one trace share its requests; they differ in who meets whom.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from ...traces import load_access_trace, load_job_trace, load_trace
from ...traces.errors import HandrailError
from ..domains import domain_named
from ..load_accesses import keeps_times
from ..scenario import Prepared
from ..splits import cut_split, measured_window, split_parts, whole_window
from .config import TraceSpec
from .mix import MIX, MIX_PARTS, cache_mix

DATA_ENVIRONMENT = "HANDRAIL_DATA"
DEFAULT_DATA = Path("../shared")
READERS = {"llm": load_trace, "cluster": load_job_trace, "prefetch": load_access_trace}


def data_folder(given: Path | None) -> Path:
    """Where traces are: as given, else by the environment, else beside the project."""
    return given if given is not None else Path(os.environ.get(DATA_ENVIRONMENT) or DEFAULT_DATA)


def missing_files(domain: str, spec: TraceSpec, data: Path) -> list[str]:
    """Files of a trace that are not there; a name without a folder is a bundled trace."""
    wanted = list(MIX_PARTS.values()) if spec.file == MIX else [spec.file] if _is_path(spec.file) else []
    return [path for path in wanted if not (data / path).is_file()]


def _is_path(file: str) -> bool:
    """Names of bundled traces and of the mix have neither folder nor suffix."""
    return "/" in file or bool(Path(file).suffix)


@lru_cache(maxsize=6)
def read_whole(domain: str, file: str, data: Path, exact_estimates: bool, seed: int = 0) -> Any:
    """A trace of the config as a whole.

    Args:
        domain: Name of the domain.
        file: As in the config.
        data: The data folder.
        exact_estimates: Whether jobs ask for what they need.
        seed: Spreads coarse stamps of access traces.

    Raises:
        HandrailError: It is not there, or cannot be read.
    """
    path = data / file if _is_path(file) else file
    trace = READERS[domain](path, seed=seed) if domain == "prefetch" else READERS[domain](path)
    return trace.replace(estimate_s=np.array(trace.run_s)) if exact_estimates else trace


def judged_part(domain: str, spec: TraceSpec, data: Path, split: str, replicate: int) -> tuple[Any, Any, float]:
    """The whole window that sizes the system, the part of it that is replayed, and the gap before that in seconds.

    Raises:
        HandrailError: The trace is not there, or the part holds nothing.
    """
    again = replicate if spec.replicates.kind == "realisations" else 0
    if spec.file == MIX:
        part = cache_mix(data, split, again)
        return part, part, 0.0
    seed = again if domain == "prefetch" else 0
    whole = read_whole(domain, spec.file, data, spec.exact_estimates, seed)
    if split == "all":
        return whole, whole, 0.0
    if spec.rows is not None and spec.validation_rows is not None:
        first, last = spec.rows if split == "test" else spec.validation_rows
        rows = np.arange(first, len(whole) if last is None else min(last, len(whole)))
        if len(rows) == 0:
            raise HandrailError(f"{whole.name}: it has {len(whole):,} rows, none from {first:,} on")
        return whole, whole.take(rows, whole.arrival_s[rows] - whole.arrival_s[rows[0]]), 0.0
    margins = domain_named(domain).margins
    return whole, cut_split(whole, split, margins), split_parts(whole, margins)[split].gap_s


def realise(
    domain_name: str, spec: TraceSpec, data: Path, split: str, load: float | None, replicate: int, seed: int
) -> Prepared:
    """One replicate of a trace at a load, ready to replay.

    Args:
        domain_name: Name of the domain.
        spec: The trace.
        data: The data folder.
        split: ``test`` or ``validation``.
        load: As in the config.
        replicate: Number of the replicate, from 0.
        seed: Root seed of the study.

    Raises:
        HandrailError: The trace is not there or holds too little, or the load cannot be reached.
    """
    domain = domain_named(domain_name)
    whole, part, gap_s = judged_part(domain_name, spec, data, split, replicate)
    shifted = seed + (replicate if spec.replicates.kind == "realisations" else 0)
    scenario = domain.scenario_type.model_validate({**spec.scenario, "load": load, "seed": shifted})
    domain.check(scenario)
    system = domain.system(scenario, whole)
    if spec.system:
        try:
            system = type(system).model_validate({**system.model_dump(), **spec.system})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise HandrailError(f"traces: {spec.file}: system.{where}: {first['msg']}; mend it") from None
    domain.check_part(part)
    loaded, change = domain.bring_to_load(part, system, scenario, lambda _: None)
    cut = _stretch(loaded, spec, replicate)
    whole_time = scenario.whole or (domain_name == "prefetch" and not keeps_times(system))
    measured = whole_window() if whole_time else measured_window(cut, domain.margins)
    # The simulator draws from one seed whatever the realisation, so that arms and replicates differ in traffic alone.
    scenario = scenario.model_copy(update={"split": split})
    return Prepared(scenario, whole.content_hash, cut, system, measured, change, gap_s / change.compression)


def _stretch(trace: Any, spec: TraceSpec, replicate: int) -> Any:
    """The items of one replicate; realisations rotate through the stretches that the trace has."""
    made = spec.replicates
    n = len(trace)
    items = made.items or (n // made.count if made.kind == "windows" else n)
    places = max(n // items, 1)
    if made.kind == "windows" and replicate >= places:
        raise HandrailError(
            f"{trace.name}: its part holds {n:,} items, not {made.count} windows of {items:,}; ask for fewer"
        )
    first = (replicate % places) * items
    rows = np.arange(first, min(first + items, n))
    return trace.take(rows, trace.arrival_s[rows] - trace.arrival_s[rows[0]])


def jittered(prepared: Prepared, seed: int) -> Prepared:
    """The same items a little off in time: each moved by up to half of its gap to the next, in the same order.

    A placebo where the fallback has no ties to break: what chance in the input alone does to a tail.
    """
    arrival_s = np.asarray(prepared.trace.arrival_s)
    room = np.append(np.diff(arrival_s), 0.0)
    rng = np.random.default_rng(np.random.SeedSequence((prepared.scenario.seed, seed)))
    moved = arrival_s + 0.5 * room * rng.random(len(arrival_s))
    return replace(prepared, trace=prepared.trace.replace(arrival_s=moved))
