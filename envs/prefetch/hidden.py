"""What a policy cannot know of a cache: which accesses come next. Learned from the past, and drawn anew in forks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from ...traces import AccessTrace
from ...traces.errors import HandrailError
from .draw import Drawn, draw_accesses
from .future import Future
from .past import TenantPast

if TYPE_CHECKING:
    from .simulator import PrefetchSimulator

ROWS: Final = 512
"""Accesses that are drawn, of all tenants together."""
RECENT: Final = 8192
"""Past accesses of a tenant that its blocks come from."""

Ints = NDArray[np.int64]


class HiddenModel:
    """Draws the accesses to come anew in forks of one simulator.

    Every tenant goes on as `draw.draw_accesses` draws from its past; one that was never heard of stays silent. With the
    accesses goes all that was worked out from the true ones ahead of time: suggestions, stream features and shadow
    statistics are those of the drawn accesses, from prefetchers and counts that were trained on the past alone. A tier
    stays as slow as it is: slowdowns to come are forgotten, and nobody knows when the present one ends.

    What is drawn ends after ``rows`` accesses, and a fork's replay with it.

    Args:
        simulator: Whose past is learned from, a stretch at a time: it reads accesses that were issued, and no others.
        rows: Accesses drawn, of all tenants together.
        recent: Past accesses of a tenant that its blocks come from.
    """

    def __init__(self, simulator: PrefetchSimulator, rows: int = ROWS, recent: int = RECENT) -> None:
        self._simulator = simulator
        self._trace = trace = simulator.trace
        self._rows = rows
        self._recent = recent
        start = simulator.engine.start
        self._origin_s = float(trace.arrival_s[start]) if start else 0.0
        backing = simulator.config.backing or trace.backing
        self._pasts = [TenantPast(simulator.arms, backing) for _ in range(simulator.n_tenants)]
        codes = range(trace.n_tenants)
        self._own: list[Ints] = [trace.rows_of_tenant(code) for code in codes]

    def note(self, point: object) -> None:
        """A decision is due: learn the accesses since the last one."""
        self._learn(self._simulator)

    def redraw(self, fork: PrefetchSimulator, rng: np.random.Generator, latency_factor: float = 1.0) -> None:
        """Draw everything hidden in ``fork`` anew, and make its tiers take ``latency_factor`` times as long.

        Afterwards the fork holds nothing of the true accesses to come. Results and the trace's own columns it has no
        longer; ``fork.trace`` are the drawn accesses. An observer is to be forked after this.

        Raises:
            HandrailError: The fork is of another simulator, or of an earlier moment than what was learned; or the
                factor is not above 0.
        """
        if fork.trace is not self._trace:
            raise HandrailError("redraw() needs a fork of the simulator that the model is of, not drawn anew before")
        if not 0.0 < latency_factor < np.inf:
            raise HandrailError(f"a latency factor is a number above 0, not {latency_factor}")
        self._learn(fork)
        engine = fork.engine
        positions = [past.position for past in self._pasts]
        trace = self._draw(fork, rng)
        codes = np.zeros(len(trace), dtype=np.int64) if trace.tenant is None else trace.tenant
        continued = []
        suggestions: dict[str, list[tuple[int, ...]]] = {name: [()] * len(trace) for name in engine.sources.tapes}
        for code, past in enumerate(self._pasts):
            places = np.flatnonzero(codes == code).tolist()
            found = past.continued(trace.key[places].tolist())
            continued.append(found)
            for name, said in found.suggestions.items():
                rows = suggestions[name]
                for place, suggested in zip(places, said, strict=True):
                    rows[place] = suggested
        # Where tenants fall behind the trace, rows under way may have any number up to the last one.
        first = engine.row if fork.config.demand in ("open", "timeless") else engine.n
        fork.continue_with(Future(first, trace, suggestions, positions, continued), latency_factor)

    def _learn(self, simulator: PrefetchSimulator) -> None:
        for code, (past, own) in enumerate(zip(self._pasts, self._own, strict=True)):
            position = simulator.position(code)
            if position < past.position:
                raise HandrailError("the model has learned of accesses that the fork has not come to yet")
            if position > past.position:
                past.learn(self._trace.key[own[past.position : position]].tolist())

    def _draw(self, fork: PrefetchSimulator, rng: np.random.Generator) -> AccessTrace:
        """Accesses of all tenants from now on, in order; times from the start of the replay."""
        trace, engine, wanted = self._trace, fork.engine, self._rows
        recent = [
            own[max(past.position - self._recent, 0) : past.position]
            for own, past in zip(self._own, self._pasts, strict=True)
        ]
        heard = [code for code, rows in enumerate(recent) if len(rows)]
        now_s = engine.now_s
        if not heard:
            return trace.take(np.arange(0))
        span_s = self._span_s(recent, now_s)
        sources, keys, times = [], [], []
        above = 1 + max(past.highest for past in self._pasts)
        for code in heard:
            rows = recent[code]
            first = np.frombuffer(bytes(self._pasts[code].first[-len(rows) :]), dtype=np.bool_)
            drawn: Drawn = draw_accesses(trace.key[rows], trace.arrival_s[rows], rng, wanted, span_s, first, above)
            above = max(above, int(drawn.key.max()) + 1)
            last_s = float(trace.arrival_s[rows[-1]]) - self._origin_s
            at_s = last_s + np.cumsum(drawn.gap_s)
            if fork.config.demand == "open":
                at_s += max(now_s - float(at_s[0]), 0.0)  # none came before now
            sources.append(rows[drawn.source])
            keys.append(drawn.key)
            times.append(np.maximum(at_s, 0.0))
        if fork.config.demand == "open" and fork.config.every_accesses is not None and fork.is_asking:
            # The decision is made because an access comes just now; whose it is nobody knows.
            soonest = min(range(len(times)), key=lambda place: float(times[place][0]))
            times[soonest] = times[soonest] - (float(times[soonest][0]) - now_s)
        source, key, at_s = np.concatenate(sources), np.concatenate(keys), np.concatenate(times)
        order = np.argsort(at_s, kind="stable")[:wanted]
        values: dict[str, Any] = {"key": key[order], "notes": {}, "name": f"{trace.name}, drawn"}
        return trace.take(source[order], at_s[order]).replace(**values)

    def _span_s(self, recent: list[Ints], now_s: float) -> float:
        """Seconds in which about twice the wanted accesses come, by the tenants' recent rates."""
        rate = 0.0
        for rows in recent:
            if len(rows) > 1:
                span_s = now_s + self._origin_s - float(self._trace.arrival_s[rows[0]])
                rate += len(rows) / span_s if span_s > 0.0 else np.inf
        return 2.0 * self._rows / rate if 0.0 < rate < np.inf else np.inf
