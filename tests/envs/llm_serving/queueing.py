"""Closed forms and sample-path recursions of queueing theory, which the simulator must reproduce."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

Floats = NDArray[np.float64]


def fcfs_waits(arrival_s: Floats, service_s: Floats, servers: int) -> Floats:
    """Waits in a central first-come-first-served queue (Kiefer and Wolfowitz 1955; Lindley 1952 for one server)."""
    free_s = [0.0] * servers
    waits = np.empty(len(arrival_s))
    for i, (arrival, service) in enumerate(zip(arrival_s.tolist(), service_s.tolist(), strict=True)):
        server = min(range(servers), key=free_s.__getitem__)
        start = max(arrival, free_s[server])
        waits[i] = start - arrival
        free_s[server] = start + service
    return waits


def lockstep_waits(arrival_s: Floats, tokens: NDArray[np.int64], servers: int, step_s: float) -> Floats:
    """Waits for one of ``servers`` slots of an engine whose steps all last ``step_s``, a token a slot and step.

    Steps follow one another while any slot is taken, so a request starts at a boundary, or at once if all are idle.
    """
    free_step = [0] * servers  # the step of this busy period at whose start each slot is free
    anchor_s = 0.0
    waits = np.empty(len(arrival_s))
    for i, (arrival, work) in enumerate(zip(arrival_s.tolist(), tokens.tolist(), strict=True)):
        if anchor_s + max(free_step) * step_s < arrival:
            anchor_s, free_step = arrival, [0] * servers
        server = min(range(servers), key=free_step.__getitem__)
        start = max(free_step[server], math.ceil((arrival - anchor_s) / step_s))
        waits[i] = anchor_s + start * step_s - arrival
        free_step[server] = start + work
    return waits


def pollaczek_khinchine_wait_s(rate: float, service_mean_s: float, service_square_s2: float) -> float:
    """Mean wait of an M/G/1 queue from the first two moments of service."""
    return rate * service_square_s2 / (2 * (1 - rate * service_mean_s))


def erlang_c(servers: int, offered: float) -> float:
    """Probability of waiting in an M/M/c queue offered ``offered`` Erlangs."""
    terms = [offered**k / math.factorial(k) for k in range(servers)]
    last = offered**servers / math.factorial(servers) * servers / (servers - offered)
    return last / (sum(terms) + last)


def mmc_wait_s(servers: int, rate: float, service_mean_s: float) -> float:
    """Mean wait of an M/M/c queue."""
    offered = rate * service_mean_s
    return erlang_c(servers, offered) * service_mean_s / (servers - offered)


def interval_99(replications: list[float]) -> tuple[float, float]:
    """Mean and half-width of the 99 % confidence interval over independent replications (Student's t)."""
    values = np.array(replications)
    n = len(values)
    return float(values.mean()), float(t.ppf(0.995, n - 1) * values.std(ddof=1) / math.sqrt(n))
