"""Shifts of what arrives: another mix, another tenant, another order, by the domain's own terms."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...traces import AccessTrace, JobTrace, RequestTrace
from ...traces.cache.transforms import apart
from ...traces.errors import HandrailError
from ...traces.llm.transforms import group_bounds, in_order, session_groups
from .context import StressContext
from .extra_traffic import RUN_ACCESSES, extra, merged
from .severities import SEVERITIES, Severities
from .shifts import without
from .stress import Kind, Stress

Bools = NDArray[np.bool_]
Window = tuple[float, float]

NEWCOMER = "newcomer"
"""Name of the tenant that appears."""

MAX_BYTES = 2**30
MAX_RUN_S = 30 * 86_400.0


@dataclass(frozen=True, slots=True)
class LengthMix(Stress):
    """What arrives within the window is of other sizes.

    Requests: prompts longer and outputs shorter, as from conversation to code and back; or lengths drawn from
    ``pairs``. Jobs: run times and estimates longer, and as many fewer jobs, so that the offered work stays. Accesses:
    larger objects, and a share of them a scan of ids that nobody asks for again.

    Attributes:
        pairs: (prompt, output) tokens to draw from in place of the contrast, such as another trace's; requests only.
        severities: How bad it is.
    """

    pairs: tuple[tuple[int, int], ...] = ()
    severities: Severities = SEVERITIES
    kind: ClassVar[Kind] = "shift"

    @property
    def label(self) -> str:
        return "length-mix"

    @classmethod
    def like(cls, trace: RequestTrace, *, most: int = 4096, **fields: Any) -> LengthMix:
        """Lengths drawn from those of another trace (of at most ``most`` requests, evenly spread over it)."""
        rows = np.unique(np.linspace(0, len(trace) - 1, min(most, len(trace))).astype(np.int64))
        rows = rows[trace.output_tokens[rows] >= 1]
        pairs = zip(trace.prompt_tokens[rows].tolist(), trace.output_tokens[rows].tolist(), strict=True)
        return cls(pairs=tuple(pairs), **fields)

    def on_trace(self, trace: Any, context: StressContext) -> Any:
        window, rng = self.window_s(context), context.rng(self.label)
        if isinstance(trace, RequestTrace):
            return with_lengths(trace, _inside(trace, window), self.severities, self.pairs, rng)
        if self.pairs:
            raise HandrailError(
                f"length-mix: pairs of prompt and output tokens mean nothing to domain {context.domain}"
            )
        if isinstance(trace, JobTrace):
            fewer = without(trace, window, 1.0 / self.severities.run_factor, rng)
            return with_run_times(fewer, _inside(fewer, window), self.severities.run_factor)
        return with_sizes_and_scan(trace, _inside(trace, window), self.severities, rng)


@dataclass(frozen=True, slots=True)
class NewTenant(Stress):
    """A tenant appears whose work is unlike that of the others, beside them.

    Its requests, jobs and accesses come at ``newcomer_share`` of the others' rate; requests have the lengths of
    ``length-mix``, jobs run longer, accesses go to ids of its own at random.

    Attributes:
        severities: How bad it is.
    """

    severities: Severities = SEVERITIES
    kind: ClassVar[Kind] = "shift"

    @property
    def label(self) -> str:
        return "new-tenant"

    @property
    def severity(self) -> float | None:
        return self.severities.newcomer_share

    def on_trace(self, trace: Any, context: StressContext) -> Any:
        rng, how = context.rng(self.label), self.severities
        copies = math.ceil(how.newcomer_share)
        new = extra(trace, self.window_s(context), copies, how.newcomer_share / copies, rng)
        if len(new) == 0:
            return trace
        everything = np.ones(len(new), dtype=np.bool_)
        if isinstance(trace, RequestTrace):
            new = with_lengths(new, everything, how, (), rng)
        elif isinstance(trace, JobTrace):
            new = with_run_times(new, everything, how.run_factor)
        else:
            new = new.replace(key=rng.integers(int(np.ptp(new.key)) + 1, size=len(new), dtype=np.int64))
        return merged(trace, new.replace(tenant=np.zeros(len(new), np.int64), tenant_names=(NEWCOMER,)))


@dataclass(frozen=True, slots=True)
class PhaseChange(Stress):
    """The same work in another order, or of another shape.

    Accesses: ids are renumbered by a permutation, so that what was sequential is random. Jobs: a share of them becomes
    wide and short, of the same work. Requests: arrivals come in bursts, of the same mean rate.

    Attributes:
        severities: How bad it is.
    """

    severities: Severities = SEVERITIES
    kind: ClassVar[Kind] = "shift"

    @property
    def label(self) -> str:
        return "phase-change"

    def on_trace(self, trace: Any, context: StressContext) -> Any:
        window, rng = self.window_s(context), context.rng(self.label)
        if isinstance(trace, RequestTrace):
            return in_bursts(trace, window, self.severities)
        if isinstance(trace, JobTrace):
            return with_wide_jobs(trace, _inside(trace, window), self.severities, rng)
        return with_permuted_keys(trace, _inside(trace, window), rng)


def with_lengths(
    trace: RequestTrace,
    rows: Bools,
    how: Severities,
    pairs: tuple[tuple[int, int], ...],
    rng: np.random.Generator,
) -> RequestTrace:
    """Requests with other lengths where ``rows`` is true; drawn from ``pairs`` where there are any."""
    prompt, output = trace.prompt_tokens.copy(), trace.output_tokens.copy()
    if pairs:
        drawn = np.array(pairs, dtype=np.int64)[rng.integers(len(pairs), size=int(rows.sum()))]
        prompt[rows], output[rows] = drawn[:, 0], drawn[:, 1]
    else:
        longest = np.maximum(prompt[rows], how.longest_prompt_tokens)
        prompt[rows] = np.clip(np.rint(prompt[rows] * how.prompt_factor), 1, longest).astype(np.int64)
        output[rows] = np.maximum(np.rint(output[rows] * how.output_factor), np.minimum(output[rows], 1)).astype(
            np.int64
        )
    changes: dict[str, Any] = {"prompt_tokens": prompt, "output_tokens": output}
    if trace.prefix_blocks is not None:
        changes["prefix_blocks"] = _cut_blocks(trace, prompt)
    return trace.replace(**changes)


def _cut_blocks(trace: RequestTrace, prompt: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Prefix blocks cut where a prompt has become shorter than they are."""
    assert trace.prefix_blocks is not None
    offsets, ids = trace.prefix_blocks
    counts = np.diff(offsets)
    kept = np.where(prompt < trace.prompt_tokens, np.minimum(counts, -(-prompt // trace.prefix_block_tokens)), counts)
    place = np.arange(len(ids)) - np.repeat(offsets[:-1], counts)
    inside = place < np.repeat(kept, counts)
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(kept))), ids[inside]


def with_run_times(trace: JobTrace, rows: Bools, factor: float) -> JobTrace:
    """Jobs that run ``factor`` times as long where ``rows`` is true, with estimates to match."""
    changed = np.where(rows, factor, 1.0)
    return trace.replace(
        run_s=np.minimum(trace.run_s * changed, _most(trace.run_s)),
        estimate_s=np.minimum(trace.estimate_s * changed, _most(trace.estimate_s)),
    )


def _most(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Nothing is stretched beyond a month; what is longer already stays."""
    return np.maximum(values, MAX_RUN_S)


def with_sizes_and_scan(trace: AccessTrace, rows: Bools, how: Severities, rng: np.random.Generator) -> AccessTrace:
    """Larger objects where ``rows`` is true, and of these accesses a share, in runs, one scan of new ids."""
    sizes = trace.size_bytes.copy()
    larger = np.rint(sizes[rows] * how.size_factor)
    sizes[rows] = np.clip(larger, 1, np.maximum(sizes[rows], MAX_BYTES)).astype(np.int64)
    runs = np.arange(len(trace)) // RUN_ACCESSES
    scanned = rows & (rng.random(int(runs[-1]) + 1)[runs] < how.scan_share)
    keys = trace.key.copy()
    if scanned.any():
        keys[scanned] = apart([trace.key, np.arange(int(scanned.sum()), dtype=np.int64)])[1]
    return trace.replace(size_bytes=sizes, key=keys)


def with_wide_jobs(trace: JobTrace, rows: Bools, how: Severities, rng: np.random.Generator) -> JobTrace:
    """A share of the jobs where ``rows`` is true takes the shape of a large job of the trace, for as much less time."""
    wide = np.flatnonzero(trace.size >= np.quantile(trace.size, how.wide_quantile))
    changed = np.flatnonzero(rows & (rng.random(len(trace)) < how.wide_share))
    donors = wide[rng.integers(len(wide), size=len(changed))]
    shape: dict[str, Any] = {}
    for column in ("tasks", "gpu_milli", "cpu_milli", "memory_mib", "gpu_types"):
        values = getattr(trace, column)
        if values is not None:
            shape[column] = values.copy()
            shape[column][changed] = values[donors]
    shorter = np.ones(len(trace))
    shorter[changed] = trace.size[changed] / trace.size[donors]
    for column in ("run_s", "estimate_s"):
        values = getattr(trace, column)
        shape[column] = np.where(shorter == 1.0, values, np.maximum(values * shorter, np.minimum(values, 1.0)))
    return trace.replace(**shape)


def in_bursts(trace: RequestTrace, window: Window, how: Severities) -> RequestTrace:
    """Sessions (and requests without one) that start within the window start in bursts, think times kept."""
    groups, count = session_groups(len(trace), trace.session_id)
    first_s, _ = group_bounds(trace.arrival_s, groups, count)
    inside = (first_s >= window[0]) & (first_s < window[1])
    since_s = np.mod(first_s - window[0], how.burst_period_s)
    moved_s = np.where(inside, first_s - since_s * (1.0 - how.burst_share), first_s)
    return in_order(trace, moved_s[groups] + (trace.arrival_s - first_s[groups]))


def with_permuted_keys(trace: AccessTrace, rows: Bools, rng: np.random.Generator) -> AccessTrace:
    """Accesses where ``rows`` is true go to the id that a permutation of the trace's ids puts in its place."""
    distinct, rank = np.unique(trace.key, return_inverse=True)
    renumbered = distinct[rng.permutation(len(distinct))][rank.ravel()]
    return trace.replace(key=np.where(rows, renumbered, trace.key))


def _inside(trace: Any, window: Window) -> Bools:
    return (trace.arrival_s >= window[0]) & (trace.arrival_s < window[1])


MIXES: dict[str, Callable[..., Stress]] = {
    "length-mix": LengthMix,
    "new-tenant": NewTenant,
    "phase-change": PhaseChange,
}
"""Shifts of what arrives, by name."""
