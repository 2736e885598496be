"""Turns what a scheduler knows into the observation vector of `group_layout.group_layout`. No field looks ahead."""

from __future__ import annotations

from copy import copy
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ...traces.errors import HandrailError
from .arriving_load import ArrivingLoad
from .demand import Demand
from .group_layout import GROUP_FIELDS, JOB_FIELDS, group_layout
from .group_pool import GroupPool
from .simulator import ClusterSimulator, DecisionPoint


class GroupObserver:
    """Observation of a decision on a job's group, float32 of shape (layout.size,).

    Raises:
        HandrailError: The simulator does not ask for groups.
    """

    def __init__(self, simulator: ClusterSimulator) -> None:
        if not isinstance(simulator.pool, GroupPool):
            raise HandrailError("this observer is for decide='group'; the simulator asks for something else")
        self._simulator = simulator
        self._state = simulator.state
        self._pool = simulator.pool
        pools = self._pool.pools
        self.layout = group_layout(len(pools))
        self._high = np.array([f.high for f in GROUP_FIELDS])
        self._job_high = np.array([f.high for f in JOB_FIELDS])
        self._sizes = [pool.size for pool in pools]
        # Columns that stay as they are; the others are filled in at each decision.
        self._still = np.zeros((len(pools), len(GROUP_FIELDS)))
        self._still[:, 1] = np.minimum(np.array(self._sizes) / self._pool.size, 1.0)
        self._still[:, 5] = self._pool.speeds
        self._twice: dict[Demand, Demand] = {}
        self._load = ArrivingLoad(self._state.jobs, self._pool.size)
        self._arrived = 0

    def fork(self, simulator: ClusterSimulator) -> Self:
        """The observer of a fork of this one's simulator, made while that stands where the fork does."""
        assert isinstance(simulator.pool, GroupPool)
        self._take_arrivals()
        twin = copy(self)
        twin._simulator = simulator
        twin._state = simulator.state
        twin._pool = simulator.pool
        twin._load = self._load.fork(simulator.state.jobs)
        return twin

    def __call__(self, point: DecisionPoint) -> NDArray[np.float32]:
        """The observation at a decision point: a new array, every value within the layout's bounds."""
        simulator, state, pool = self._simulator, self._state, self._pool
        jobs, row, now_s = state.jobs, point.item, point.now_s
        demand = jobs.demands[row]
        twice = self._twice.get(demand)
        if twice is None:
            twice = self._twice[demand] = demand._replace(tasks=2 * demand.tasks)
        estimate_s = float(jobs.estimate_s[row])
        matrix = self._still.copy()
        for g, one in enumerate(pool.pools):
            free = one.free_size
            line = matrix[g]
            line[0] = point.action_mask[g]
            line[2] = free / self._sizes[g]
            line[3] = free
            line[4] = one.fits(twice)
            line[6] = one.can_ever_fit(demand)
            line[7] = estimate_s / line[5]
            line[8] = pool.running[g]
            line[9] = one.fragmentation()
        self._take_arrivals()
        size = jobs.size_of[row]
        job = (
            size / pool.size,
            size,
            demand.tasks,
            estimate_s,
            now_s - float(jobs.arrival_s[row]),
            simulator.is_overdue(row),
            len(state.running),
            len(state.waiting),
            max(state.waiting_work, 0.0) / pool.size / 3600.0,
            self._load.at(now_s),
            simulator.down_share,
            pool.size,
        )
        out = np.empty(self.layout.size, dtype=np.float32)
        np.minimum(matrix, self._high, out=matrix)
        out[: matrix.size] = matrix.ravel()
        out[matrix.size :] = np.minimum(job, self._job_high)
        return out

    def _take_arrivals(self) -> None:
        arrived = self._simulator.arrived
        for row in range(self._arrived, arrived):
            if self._state.may_ever_run(row):
                self._load.add(row)
        self._arrived = arrived
