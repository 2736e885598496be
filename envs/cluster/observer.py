"""Turns what a scheduler knows into the observation vector of `layout.layout_for`.

No field looks ahead: run times enter as estimates, faults once they have happened.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...traces.errors import HandrailError
from .arriving_load import ArrivingLoad
from .layout import GLOBAL_FIELDS, SLOT_FIELDS, layout_for
from .pool import ProcessorPool
from .simulator import SHORT_JOB_S, ClusterSimulator, DecisionPoint
from .state import ClusterState

_WIDTH = len(SLOT_FIELDS)
(
    _UP,
    _IS_WAIT,
    _SIZE,
    _ESTIMATE,
    _WAIT,
    _SUBMIT,
    _SLOWDOWN,
    _FITS,
    _OVERDUE,
    _TENANT,
    _HEAD_DELAY,
    _PASSED,
    _DISPLACED,
) = range(_WIDTH)

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


class SchedulerObserver:
    """Observation of a decision point, float32 of shape (layout.size,).

    Attach it before the simulator's first `advance`; a simulator takes one.

    Raises:
        HandrailError: The simulator does not ask for jobs.
    """

    def __init__(self, simulator: ClusterSimulator) -> None:
        if simulator.window is None:
            raise HandrailError("this observer is for decide='job'; the simulator asks for something else")
        self._simulator = simulator
        self._window = simulator.window
        self._state = simulator.state
        self.layout = layout_for(self._window.size)
        self._processors = isinstance(simulator.pool, ProcessorPool)
        self._high = np.array([f.high for f in SLOT_FIELDS])
        self._global_high = np.array([f.high for f in GLOBAL_FIELDS], dtype=np.float32)
        self._load = ArrivingLoad(simulator.state.jobs, simulator.pool.size)
        self._promised: dict[tuple[int, int], float] = {}  # by job and attempt
        self._size = simulator.pool.size
        self._has_tenants = self._state.quota is not None or self._state.jobs.n_tenants > 1

    def __call__(self, point: DecisionPoint) -> NDArray[np.float32]:
        """The observation at a decision point: a new array, every value within the layout's bounds."""
        state, window = self._state, self._window
        jobs = state.jobs
        now_s = point.now_s
        rows = window.rows
        n = len(rows)
        size = jobs.size[rows]
        estimate_s = jobs.estimate_s[rows]
        wait_s = now_s - jobs.arrival_s[rows]
        short_s = np.maximum(estimate_s, SHORT_JOB_S)
        columns = np.zeros((_WIDTH, window.size + 1))  # a row a field
        slots = columns[:, :n]
        columns[_UP] = point.action_mask
        columns[_IS_WAIT, window.size] = 1.0
        slots[_SIZE] = size
        slots[_SIZE] /= self._size
        slots[_ESTIMATE] = estimate_s
        slots[_WAIT] = wait_s
        slots[_SUBMIT] = jobs.submit_s[rows]
        np.maximum((wait_s + estimate_s) / short_s, 1.0, out=slots[_SLOWDOWN])
        slots[_FITS] = window.fits
        if self._has_tenants:
            slots[_TENANT] = np.array(state.tenant_size)[jobs.tenant[rows]] / self._size
        if state.waiting.overdue:
            slots[_OVERDUE] = wait_s > state.config.wait_limit_s  # type: ignore[operator]
            first = state.overdue.first(state)
            if first is not None:
                slots[_PASSED, rows > first] = 1 + state.overdue.of(first)

        if not window.commits:
            state.running.correct(now_s)  # RLScheduler's protocol leaves expected ends as they were
        supply = _Supply(state, now_s)
        if self._processors:
            reservation_s = self._delays_on_processors(slots, size, estimate_s, supply)
        else:
            reservation_s = self._delays_on_machines(slots, rows, estimate_s, now_s)
        if n > 1:
            self._displaced(slots, size, estimate_s, short_s, supply)
        slip_s = self._slip_s(int(rows[0]), reservation_s)

        out = np.empty(self.layout.size, dtype=np.float32)
        block = columns.size
        np.minimum(columns.T, self._high, out=out[:block].reshape(-1, _WIDTH), casting="same_kind")
        summary = out[block:]
        summary[:] = (
            supply.free / self._size,
            len(state.running),
            len(state.waiting),
            max(state.waiting_work, 0.0) / self._size / 3600.0,
            self._arriving_load(now_s),
            wait_s[0],
            reservation_s - now_s,
            slip_s,
            state.pool.fragmentation(),
            self._simulator.down_share,
            self._size,
        )
        np.minimum(summary, self._global_high, out=summary)
        return out

    def _delays_on_processors(self, slots: Floats, size: Floats, estimate_s: Floats, supply: _Supply) -> float:
        """Fill in the delays of the head's reservation, exactly; when it is."""
        head, now_s = float(size[0]), supply.now_s
        at_s, extra = now_s, supply.free - head
        if extra < 0.0:
            at_s, extra = supply.first_with(head)
            if at_s == np.inf:
                return np.inf  # beyond what is running: only a machine's return can help
        end_s = now_s + estimate_s
        late = (end_s > at_s) & (size > extra)
        late[0] = False
        if late.any():
            slots[_HEAD_DELAY, late] = np.minimum(end_s[late], supply.when_free(head + size[late])) - at_s
        return at_s

    def _delays_on_machines(self, slots: Floats, rows: Rows, estimate_s: Floats, now_s: float) -> float:
        """Fill in upper bounds of the delays of the head's reservation; when it is."""
        state, fits_now = self._state, self._window.fits
        jobs = state.jobs
        fitting = fits_now.nonzero()[0]
        if fits_now[0] and len(fitting) == 1:
            return now_s
        reservation = state.pool.reserve(jobs.demands[int(rows[0])], now_s, state.running.releases())
        at_s = max(reservation.at_s, now_s)
        end_s = now_s + estimate_s
        beside: dict[int, bool] = {}
        delays = slots[_HEAD_DELAY]
        for i in fitting[end_s[fitting] > at_s].tolist():
            if i == 0:
                continue
            row = int(rows[i])
            kind = jobs.kind_of[row]
            fits = beside.get(kind)
            if fits is None:
                fits = beside[kind] = reservation.fits_beside(jobs.demands[row])
            if not fits:
                delays[i] = end_s[i] - at_s
        return at_s

    def _displaced(
        self, slots: Floats, size: Floats, estimate_s: Floats, short_s: Floats, supply: _Supply
    ) -> None:
        """Fill in what a job costs those before it that would start now without it.

        Those are the first of the jobs that fit, for as long as they fit together, by sizes alone. With a later job in
        their way they start when enough comes free for both, at the latest when it ends.
        """
        fitting = self._window.fits.nonzero()[0]
        sizes = size[fitting]
        taken = sizes.cumsum()
        starting = int(np.searchsorted(taken, supply.free, side="right"))
        if starting == len(fitting):
            return  # there is room for all of them
        later = fitting[starting:]
        both_s = supply.when_free(taken[:starting] + sizes[starting:, None])  # (later job, job before it)
        until_s = np.minimum(both_s, (supply.now_s + estimate_s[later])[:, None])
        slots[_DISPLACED, later] = ((until_s - supply.now_s) / short_s[fitting[:starting]]).sum(axis=1)

    def _slip_s(self, head: int, reservation_s: float) -> float:
        """How much later than first promised; a promise stands though other jobs become the head meanwhile."""
        if reservation_s == np.inf:
            return 0.0
        promised_s = self._promised.setdefault((head, self._state.attempts_of(head)), reservation_s)
        return max(reservation_s - promised_s, 0.0)

    def _arriving_load(self, now_s: float) -> float:
        for row in self._window.arrivals:
            self._load.add(row)
        self._window.arrivals.clear()
        return self._load.at(now_s)


class _Supply:
    """What comes free and when, if running jobs end when expected and nothing starts; looked up when asked for."""

    __slots__ = ("_ends_s", "_levels", "_running", "free", "now_s")

    def __init__(self, state: ClusterState, now_s: float) -> None:
        self.now_s = now_s
        self.free = state.pool.free_size
        self._running = state.running
        self._ends_s: Floats | None = None
        self._levels: Floats | None = None

    def _look(self) -> tuple[Floats, Floats]:
        """Now and the expected ends and +inf, and how much is free from each of them on."""
        if self._ends_s is None or self._levels is None:
            ends_s, sizes = self._running.profile()
            n = len(ends_s)
            self._ends_s, self._levels = np.empty(n + 2), np.empty(n + 1)
            self._ends_s[0], self._ends_s[-1] = self.now_s, np.inf
            np.maximum(ends_s, self.now_s, out=self._ends_s[1:-1])
            self._levels[0], self._levels[1:] = self.free, sizes
            np.cumsum(self._levels, out=self._levels)
        return self._ends_s, self._levels

    def when_free(self, need: Floats) -> Floats:
        """When ``need`` comes free; +inf if never."""
        ends_s, levels = self._look()
        return ends_s[np.searchsorted(levels, need)]

    def first_with(self, need: float) -> tuple[float, float]:
        """When ``need`` comes free, and how much more than it is free then; +inf and 0 if never."""
        ends_s, levels = self._look()
        at_s = float(ends_s[np.searchsorted(levels, need)])
        if at_s == np.inf:
            return at_s, 0.0
        # Of several jobs that end at that moment the last one counts.
        return at_s, float(levels[np.searchsorted(ends_s, at_s, side="right") - 1]) - need
