"""The Gymnasium environment of job placement: which group of machines takes the next job."""

from __future__ import annotations

import numpy as np

from ...traces import JobTrace
from .config import ClusterConfig
from .default_cluster import default_groups
from .episodes import ClusterEpisodes
from .group_observer import GroupObserver
from .simulator import ClusterSimulator


class ClusterPlacementEnv(ClusterEpisodes):
    """Choose the group of machines for the job that the standing scheduler starts next.

    The standing scheduler (``cluster.discipline``, ``cluster.backfill`` none or easy) says which job; the action says
    where it runs, and with groups of different speeds for how long. All tasks of a job run in one group; within it
    ``cluster.placement`` rules. Under EASY a job that goes before the head may only use groups where it is expected to
    end before the head's reservation, or leaves it what it needs.

    ## Action space
    ``Discrete(G)``, one action a group of ``cluster.groups``. ``action_masks()`` says which of them may take the job
    now. An action that is not legal is replaced by the first legal one, costs ``illegal_penalty`` and is told in
    ``info["illegal"]``. A step is the start of a job; jobs that start at the same moment are a step each.

    ## Observation space
    ``Box(G * 10 + 12,)``, float32, all bounds finite. `env.unwrapped.layout.describe()` prints the table:

    | per group | unit | |
    |---|---|---|
    | up | 0/1 | may take the job now |
    | size_share | share | of the cluster's GPUs (processors) |
    | free_share | share | of the group's GPUs (processors) that are free |
    | gpus_free | GPUs (processors) | free |
    | fits_after | 0/1 | another job like this one would still fit |
    | speed | | run times are divided by it |
    | type_match | 0/1 | the job may ever run there: GPU model, size of machines |
    | expected_run_s | s | estimated run time there, 0 where nothing is known |
    | running_jobs | jobs | |
    | fragmentation | share | of the free GPUs, of no use to a typical job |

    | global | unit | |
    |---|---|---|
    | job_size_share, job_size | share, GPUs (processors) | of the job |
    | tasks | tasks | of the job |
    | estimate_s | s | run time at speed 1 as far as it may be known |
    | wait_s | s | since the job arrived |
    | overdue | 0/1 | waited beyond the wait limit |
    | running_jobs, waiting_jobs | jobs | the job itself waits |
    | waiting_hours | h | estimated work that waits over the cluster's size |
    | load_6h | share | estimated work that arrives over the cluster's size, exponentially weighted over 6 h |
    | down_share | share | of the machines |
    | cluster_size | GPUs (processors) | |

    ## Reward, episode and arguments
    As in ``handrail/ClusterScheduling-v0``. By default ``cluster`` is three groups of servers (8 GPUs at speed 1, 8 at
    1.5, 4 at 0.7) with half, 30 % and 20 % of the capacity, of which the split offers 0.8; a group has at least as many
    servers as the largest job needs. First come, first served, with EASY backfilling.

    ## Version history
    v0: first version.
    """

    decide = "group"

    def _default_cluster(self, part: JobTrace) -> ClusterConfig:
        return default_groups(part)

    def _observer_of(self, simulator: ClusterSimulator) -> GroupObserver:
        return GroupObserver(simulator)

    def _choices(self) -> list[str]:
        layout, seen = self.layout, self._observation
        free, run_s = layout.replica(seen, "gpus_free"), layout.replica(seen, "expected_run_s")
        return [
            f"group {g} {self.cluster.groups[g].name:12s} free {free[g]:8.2f}   expected run {run_s[g]:12,.0f} s"
            for g in np.flatnonzero(layout.replica(seen, "up")).tolist()
        ]
