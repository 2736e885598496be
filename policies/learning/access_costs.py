"""What prefetch policies are trained to lower: latency, its square and bytes, as they accrue in a cache simulator."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from ...envs.prefetch import Arm, CacheConfig, DecisionPoint, PrefetchSimulator
from ...envs.prefetch.arms import OFF
from ...envs.prefetch.standing import ALL
from ...envs.prefetch.warmth import rows_that_fill
from ...traces import AccessTrace
from ...traces.errors import HandrailError

Floats = NDArray[np.float64]

OFF_ARM = Arm(OFF, 0)
"""The arm of every menu that prefetches nothing."""


@dataclass(frozen=True, slots=True)
class CostWeights:
    """What counts beside a tenant's own access latency, all in unloaded misses.

    Attributes:
        others: Weight of what the other tenants' accesses cost; at 1 every tenant decides for all.
        bytes: Cost of fetching an object of mean size from the backing tier, asked for or ahead of that.
        tail: Weight of the squared latency of each access: twenty misses long costs ``20 + tail * 400``.

    Raises:
        HandrailError: A weight is negative or not finite.
    """

    others: float = 0.3
    bytes: float = 0.05
    tail: float = 0.01

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0.0 <= value < math.inf:
                raise HandrailError(f"the weight {field.name} must be a number of at least 0, not {value}")

    def shared(self, costs: Floats) -> Floats:
        """From what each tenant's accesses cost to what each decides by, over the last axis."""
        return (1.0 - self.others) * costs + self.others * costs.sum(axis=-1, keepdims=True)


class CostMeter:
    """Reads at any time what the accesses of a simulator have cost so far.

    An *account* is a tenant where each has decisions of its own, and else all of them together.

    Args:
        simulator: What is read; attach the meter before its first ``advance``.
        weights: What counts.

    Attributes:
        accounts: How many there are.
    """

    def __init__(self, simulator: PrefetchSimulator, weights: CostWeights) -> None:
        config = simulator.config
        self.accounts = simulator.n_tenants if config.per_tenant else 1
        self._simulator = simulator
        self._engine = simulator.engine
        self._weights = weights
        self._per_miss = 1.0 / config.unloaded_miss_s
        self._per_byte = weights.bytes / float(simulator.trace.size_bytes.mean())
        self._hit_s = config.hit_s
        self._seen = 0
        self._squares = np.zeros(simulator.n_tenants)

    def positions(self) -> NDArray[np.int64]:
        """Accesses so far, shape (accounts,)."""
        return self._by_account(np.array([totals.accesses for totals in self._simulator.counters], dtype=np.int64))

    def costs(self) -> Floats:
        """Cost so far in unloaded misses, shape (accounts,).

        Waiting counts as it goes by, its square once it is over.
        """
        self._square()
        now_s, weights = self._simulator.now_s, self._weights
        counters = self._simulator.counters
        latency = np.array([totals.latency_s(now_s, self._hit_s) for totals in counters]) * self._per_miss
        moved = np.array([totals.demand_bytes + totals.prefetch_bytes for totals in counters]) * self._per_byte
        return self._by_account(latency + weights.tail * self._squares + moved)

    def _square(self) -> None:
        """Take in the accesses that are done since the last time."""
        engine, first = self._engine, self._seen
        rows, finish_s = engine.missed_rows.since(first), engine.missed_finish_s.since(first)
        self._seen += len(rows)
        for row, at_s in zip(rows, finish_s, strict=True):
            self._squares[engine.tenants[row]] += ((at_s - engine.times[row]) * self._per_miss) ** 2

    def _by_account(self, each: NDArray) -> NDArray:
        return each if self.accounts == len(each) else each.sum(keepdims=True)


class CostCurve:
    """What each account has cost by each of its accesses.

    Args:
        positions: Accesses so far at each mark, shape (marks, accounts).
        costs: Costs so far, shape (marks, accounts).
    """

    def __init__(self, positions: Sequence[NDArray[np.int64]], costs: Sequence[Floats]) -> None:
        self._positions = np.array(positions, dtype=np.float64)
        self._costs = np.array(costs)

    def at(self, positions: NDArray[np.int64]) -> Floats:
        """Costs by then, in a straight line between marks; shapes (..., accounts)."""
        found = [
            np.interp(positions[..., account], self._positions[:, account], self._costs[:, account])
            for account in range(self._costs.shape[1])
        ]
        return np.stack(found, axis=-1)


def window_simulator(trace: AccessTrace, config: CacheConfig, window: tuple[int, int]) -> PrefetchSimulator:
    """A simulator that asks a policy, of a window of a trace's rows; the cache is filled with what came before."""
    warm = rows_that_fill(trace, window[0], config)
    return PrefetchSimulator(config, trace, decide="policy", rows=window, warm=warm)


def tenants_asked(trace: AccessTrace, config: CacheConfig, window: tuple[int, int]) -> list[int]:
    """Which tenants a simulator of the window asks for at a decision, in order; (-1,) where one arm serves all."""
    if not config.per_tenant:
        return [ALL]
    return [0] if trace.tenant is None else np.unique(trace.tenant[slice(*window)]).tolist()


def cost_curve(simulator: PrefetchSimulator, weights: CostWeights, choose: Callable[[DecisionPoint], int]) -> CostCurve:
    """Replay a fresh simulator to its end under ``choose``, and mark what it cost at each decision."""
    meter = CostMeter(simulator, weights)
    positions, costs = [meter.positions()], [meter.costs()]
    point = simulator.advance()
    first = None if point is None else point.tenant
    while point is not None:
        if point.tenant == first:
            positions.append(meter.positions())
            costs.append(meter.costs())
        simulator.apply(choose(point))
        point = simulator.advance()
    positions.append(meter.positions())
    costs.append(meter.costs())
    return CostCurve(positions, costs)
