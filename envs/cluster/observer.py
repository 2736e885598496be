"""Turns what a scheduler knows into the observation vector of `layout.layout_for`.

No field looks ahead: run times enter as estimates, faults once they have happened.
"""

from __future__ import annotations

from copy import copy
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ...traces.errors import HandrailError
from .arriving_load import ArrivingLoad
from .layout import GLOBAL_FIELDS, SLOT_FIELDS, layout_for
from .machine_pool import MachinePool
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

_NEVER = np.array([np.inf])

MIN_PROMISES = 256
"""Promises from which on those are forgotten that nobody asks for any more."""

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


class SchedulerObserver:
    """Observation of a decision point, float32 of shape (layout.size,).

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
        self._arrived = 0
        self._promised: dict[tuple[int, int], float] = {}  # by job and attempt
        self._prune_at = MIN_PROMISES
        self._size = simulator.pool.size
        self._has_tenants = self._state.quota is not None or self._state.jobs.n_tenants > 1

    def fork(self, simulator: ClusterSimulator) -> Self:
        """The observer of a fork of this one's simulator, made while that stands where the fork does."""
        assert simulator.window is not None
        self._take_arrivals()
        twin = copy(self)
        twin._simulator = simulator
        twin._window = simulator.window
        twin._state = simulator.state
        twin._load = self._load.fork(simulator.state.jobs)
        twin._promised = self._promised.copy()
        return twin

    def __call__(self, point: DecisionPoint) -> NDArray[np.float32]:
        """The observation at a decision point: a new array, every value within the layout's bounds."""
        state, window = self._state, self._window
        jobs = state.jobs
        now_s = point.now_s
        rows = window.rows
        n = len(rows)
        self._take_arrivals()
        matrix = np.zeros((window.size + 1, _WIDTH))
        slots = matrix[:n]
        matrix[:, _UP] = point.action_mask
        matrix[window.size, _IS_WAIT] = 1.0
        size = jobs.size[rows]
        estimate_s = jobs.estimate_s[rows]
        wait_s = now_s - jobs.arrival_s[rows]
        slots[:, _SIZE] = size / self._size
        slots[:, _ESTIMATE] = estimate_s
        slots[:, _WAIT] = wait_s
        slots[:, _SUBMIT] = jobs.submit_s[rows]
        short_s = np.maximum(estimate_s, SHORT_JOB_S)
        slowdown = (wait_s + estimate_s) / short_s
        np.maximum(slowdown, 1.0, out=slots[:, _SLOWDOWN])
        slots[:, _FITS] = window.fits
        if self._has_tenants:
            slots[:, _TENANT] = np.array(state.tenant_size)[jobs.tenant[rows]] / self._size
        if state.waiting.overdue:
            slots[:, _OVERDUE] = wait_s > state.config.wait_limit_s  # type: ignore[operator]
            first = state.overdue.first(state)
            if first is not None:
                slots[rows > first, _PASSED] = 1 + state.overdue.of(first)

        supply = _Supply(state, now_s, corrects=not window.commits)
        if self._processors:
            reservation_s = self._delays_on_processors(slots, size, estimate_s, supply)
        else:
            reservation_s = self._delays_on_machines(slots, rows, estimate_s, supply)
        if n > 1:
            self._displaced(slots, size, estimate_s, short_s, supply)
        slip_s = self._slip_s(int(rows[0]), reservation_s)

        out = np.empty(self.layout.size, dtype=np.float32)
        block = matrix.size
        np.minimum(matrix, self._high, out=matrix)
        out[:block] = matrix.ravel()
        summary = out[block:]
        summary[:] = (
            supply.free / self._size,
            len(state.running),
            len(state.waiting),
            max(state.waiting_work, 0.0) / self._size / 3600.0,
            self._load.at(now_s),
            now_s - jobs.arrival_s[rows[0]],
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
            slots[late, _HEAD_DELAY] = np.minimum(end_s[late], supply.when_free(head + size[late])) - at_s
        return at_s

    def _delays_on_machines(self, slots: Floats, rows: Rows, estimate_s: Floats, supply: _Supply) -> float:
        """Fill in upper bounds of the delays of the head's reservation; when it is."""
        state, window = self._state, self._window
        jobs, now_s = state.jobs, supply.now_s
        if window.fits[0] and np.count_nonzero(window.fits) == 1:
            return now_s
        supply.correct()
        pool: MachinePool = state.pool  # type: ignore[assignment]
        reservation = pool.reserve(jobs.demands[int(rows[0])], now_s, state.running.releases())
        at_s = max(reservation.at_s, now_s)
        if reservation.held:
            kinds = window.kinds_that_fit
            beside = pool.which_fit([jobs.kinds[kind] for kind in kinds], reservation)
            in_the_way = {kind for kind, spare in zip(kinds, beside, strict=True) if not spare}
            if in_the_way:
                end_s = now_s + estimate_s / state.slowest_speed  # where it will run is not known yet
                kind_of = jobs.kind_of
                late = np.array([kind_of[row] in in_the_way for row in rows.tolist()]) & (end_s > at_s)
                late[0] = False
                np.subtract(end_s, at_s, out=slots[:, _HEAD_DELAY], where=late)
        return at_s

    def _displaced(self, slots: Floats, size: Floats, estimate_s: Floats, short_s: Floats, supply: _Supply) -> None:
        """Fill in what a job costs those before it that would start now without it.

        Those are the first of the jobs that fit, for as long as they fit together, by sizes alone. With a later job in
        their way they start when enough comes free for both, at the latest when it ends.
        """
        fitting = self._window.fits.nonzero()[0]
        sizes = size[fitting]
        taken = sizes.cumsum()
        starting = int(taken.searchsorted(supply.free, side="right"))
        if starting == len(fitting):
            return  # there is room for all of them
        later = fitting[starting:]
        both_s = supply.when_free(taken[:starting] + sizes[starting:, None])  # (later job, job before it)
        until_s = np.minimum(both_s, (supply.now_s + estimate_s[later])[:, None])
        slots[later, _DISPLACED] = np.add.reduce((until_s - supply.now_s) / short_s[fitting[:starting]], axis=1)

    def _slip_s(self, head: int, reservation_s: float) -> float:
        """How much later than first promised; a promise stands though other jobs become the head meanwhile."""
        if reservation_s == np.inf:
            return 0.0
        state = self._state
        promised_s = self._promised.setdefault((head, state.attempts_of(head)), reservation_s)
        if len(self._promised) >= self._prune_at:
            # What has started since, or ended, asks for its promise no more.
            waiting = set(state.waiting)
            kept = {key: at_s for key, at_s in self._promised.items() if key[0] in waiting}
            self._promised = kept
            self._prune_at = max(MIN_PROMISES, 2 * len(kept))
        return max(reservation_s - promised_s, 0.0)

    def _take_arrivals(self) -> None:
        """Take in the jobs that have arrived."""
        arrived = self._simulator.arrived
        if self._arrived < arrived:
            for row in range(self._arrived, arrived):
                if self._state.may_ever_run(row):
                    self._load.add(row)
            self._arrived = arrived


class _Supply:
    """What comes free and when, if running jobs end when expected and nothing starts; looked up when asked for.

    RLScheduler's protocol leaves expected ends that have passed as they were; those count as now.
    """

    __slots__ = ("_corrects", "_ends_s", "_levels", "_running", "free", "now_s")

    def __init__(self, state: ClusterState, now_s: float, *, corrects: bool) -> None:
        self.now_s = now_s
        self.free = state.pool.free_size
        self._running = state.running
        self._corrects = corrects
        self._ends_s: Floats | None = None
        self._levels: Floats | None = None

    def correct(self) -> None:
        """Bring the expected ends up to the present."""
        if self._corrects:
            self._running.correct(self.now_s)

    def _look(self) -> tuple[Floats, Floats]:
        """Now and the expected ends and +inf, and how much is free from each of the former on."""
        if self._ends_s is None or self._levels is None:
            self.correct()
            ends_s, sizes = self._running.profile()
            self._ends_s = np.concatenate(([self.now_s], ends_s, _NEVER))
            if not self._corrects:
                np.maximum(self._ends_s, self.now_s, out=self._ends_s)
            self._levels = np.concatenate(([self.free], sizes))
            self._levels.cumsum(out=self._levels)
        return self._ends_s, self._levels

    def when_free(self, need: Floats) -> Floats:
        """When ``need`` comes free; +inf if never."""
        ends_s, levels = self._look()
        return ends_s[levels.searchsorted(need)]

    def first_with(self, need: float) -> tuple[float, float]:
        """When ``need`` comes free, and how much more than it is free then; +inf and 0 if never."""
        ends_s, levels = self._look()
        at_s = float(ends_s[levels.searchsorted(need)])
        if at_s == np.inf:
            return at_s, 0.0
        # Of several jobs that end at that moment the last one counts.
        return at_s, float(levels[ends_s.searchsorted(at_s, side="right") - 1]) - need
