"""Accesses drawn from a config and a seed: tenants that go through phases, on and off, each in ids of its own.

Every stream of randomness has a seed of its own, so that a change to, say, one phase's ids leaves all arrivals as they
were.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..common.renewals import renewals
from ..errors import TraceError
from .access_trace import AccessTrace
from .generator_config import AccessConfig, AccessTenant
from .phases import draw_objects, layout_of
from .transforms import KEY_GAP

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_STREAMS = ("layout", "schedule", "arrivals", "objects", "sizes", "writes")


@dataclass(frozen=True)
class _Schedule:
    """Which phase holds when: phase ``phase[i]`` from ``start_s[i]`` to ``start_s[i + 1]``."""

    phase: Ints
    start_s: Floats  # shape (len(phase) + 1,)


def generate_accesses(config: AccessConfig, seed: int, name: str = "generated") -> AccessTrace:
    """Draw a trace; arrival times are whole microseconds.

    Raises:
        TraceError: ``seed`` is negative, or nothing at all was drawn (too short, too low a rate).
    """
    return generate_with_phases(config, seed, name)[0]


def generate_with_phases(config: AccessConfig, seed: int, name: str = "generated") -> tuple[AccessTrace, Ints]:
    """The trace of ``generate_accesses`` and, for each row, which phase of its tenant it is of (int64, shape (n,)).

    Raises:
        TraceError: As ``generate_accesses``.
    """
    if seed < 0:
        raise TraceError(f"seed must be 0 or more, got {seed}")
    drawn = []
    first_key = 0
    seeds = np.random.SeedSequence(seed).spawn(len(config.tenants))
    for code, (tenant, tenant_seed) in enumerate(zip(config.tenants, seeds, strict=True)):
        arrival_s, ids, size_bytes, writes, phase = _tenant(config, tenant, tenant_seed)
        drawn.append((arrival_s, ids + first_key, size_bytes, writes, phase, np.full(len(phase), code, np.int64)))
        first_key += tenant.extent + KEY_GAP
    arrival_s, key, size_bytes, writes, phase, code = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    if len(key) == 0:
        raise TraceError("the generator drew no access; raise rate_factor or duration_s")
    order = np.argsort(arrival_s, kind="stable")
    trace = AccessTrace(
        arrival_s=arrival_s[order],
        key=key[order],
        size_bytes=size_bytes[order],
        is_write=writes[order] if writes.any() else None,
        tenant=code[order],
        tenant_names=tuple(tenant.name for tenant in config.tenants),
        backing=config.backing,
        name=name,
        notes={"format": "generated", "rows": len(key), "origin_s": 0.0},
    )
    return trace, phase[order]


def _tenant(
    config: AccessConfig, tenant: AccessTenant, seed: np.random.SeedSequence
) -> tuple[Floats, Ints, Ints, NDArray[np.bool_], Ints]:
    """Arrival, id (from 0), size, write and phase of each of one tenant's accesses, in order of time."""
    seeds = dict(zip(_STREAMS, seed.spawn(len(_STREAMS)), strict=True))
    rng = {stream: np.random.default_rng(seeds[stream]) for stream in _STREAMS}
    schedule = _schedule(config.duration_s, tenant, rng["schedule"])
    arrival_s = _arrivals(config, tenant, schedule, rng["arrivals"])
    # A phase that comes again has the same chain, or the same popular objects, as before.
    layouts = [
        layout_of(phase, np.random.default_rng(own))
        for phase, own in zip(tenant.phases, seeds["layout"].spawn(len(tenant.phases)), strict=True)
    ]
    ends = np.searchsorted(arrival_s, schedule.start_s[1:], side="left")
    ids = np.zeros(len(arrival_s), np.int64)
    first = 0
    turns = zip(schedule.phase.tolist(), ends.tolist(), seeds["objects"].spawn(len(ends)), strict=True)
    for index, end, own in turns:
        phase = tenant.phases[index]
        drawn = draw_objects(phase, layouts[index], end - first, np.random.default_rng(own))
        ids[first:end] = phase.first_id + phase.spacing * drawn
        first = end
    phase_of_row = np.repeat(schedule.phase, np.diff(ends, prepend=0))
    log_size = tenant.size_log_sigma * rng["sizes"].standard_normal(tenant.extent)
    size_bytes = np.clip(np.rint(tenant.size_bytes * np.exp(log_size)), 1, 2**40).astype(np.int64)
    writes = rng["writes"].random(len(arrival_s)) < tenant.write_share
    return arrival_s, ids, size_bytes[ids], writes, phase_of_row


def _schedule(duration_s: float, tenant: AccessTenant, rng: np.random.Generator) -> _Schedule:
    phases: list[int] = []
    start_s = [0.0]
    while start_s[-1] < duration_s:
        index = len(phases) % len(tenant.phases)
        factor = 1 + tenant.length_jitter * rng.uniform(-1, 1)
        phases.append(index)
        start_s.append(start_s[-1] + factor * tenant.phases[index].duration_s)
    start_s[-1] = duration_s
    return _Schedule(np.array(phases, np.int64), np.array(start_s))


def _arrivals(config: AccessConfig, tenant: AccessTenant, schedule: _Schedule, rng: np.random.Generator) -> Floats:
    """A Gamma renewal process of rate 1, its time warped by phases and by on and off periods."""
    switches = _switches(config.duration_s, tenant, rng)
    knots_s = np.unique(np.concatenate((schedule.start_s, switches)))
    middle_s = (knots_s[:-1] + knots_s[1:]) / 2
    turn = np.searchsorted(schedule.start_s, middle_s, side="right") - 1
    factors = np.array([phase.rate_factor for phase in tenant.phases])[schedule.phase[turn]]
    # Switches alternate, the first of them to off; a tenant is on before it.
    is_on = np.searchsorted(switches, middle_s, side="right") % 2 == 0
    rate_while_on = config.rate_factor * tenant.rate_per_s * (tenant.on_mean_s + tenant.off_mean_s) / tenant.on_mean_s
    expected = np.concatenate(([0.0], np.cumsum(np.diff(knots_s) * factors * is_on * rate_while_on)))
    if expected[-1] == 0:
        return np.zeros(0)
    return np.round(np.interp(renewals(float(expected[-1]), 1.0, tenant.arrival_cv, rng), expected, knots_s), 6)


def _switches(duration_s: float, tenant: AccessTenant, rng: np.random.Generator) -> Floats:
    """Times at which a tenant goes off, on, off, ... until the end."""
    if tenant.off_mean_s == 0:
        return np.zeros(0)
    pairs = int(2 * duration_s / (tenant.on_mean_s + tenant.off_mean_s)) + 16
    lengths: list[Floats] = []
    total_s = 0.0
    while total_s < duration_s:
        drawn = rng.exponential((tenant.on_mean_s, tenant.off_mean_s), (pairs, 2)).ravel()
        lengths.append(drawn)
        total_s += float(drawn.sum())
    times_s = np.cumsum(np.concatenate(lengths))
    return times_s[times_s < duration_s]
