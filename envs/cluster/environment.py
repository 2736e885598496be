"""The Gymnasium environment of job scheduling: which waiting job starts next."""

from __future__ import annotations

import numpy as np

from ...traces import JobTrace
from .config import ClusterConfig
from .default_cluster import default_cluster
from .episodes import ClusterEpisodes
from .observer import SchedulerObserver
from .simulator import ClusterSimulator


class ClusterSchedulingEnv(ClusterEpisodes):
    """Choose which waiting job starts next, or to start nothing for now.

    ## Action space
    ``Discrete(K + 1)``, K = ``cluster.window`` (32): the waiting job in that slot of the window, K: none of them until
    something changes. The window shows the waiting jobs in their standing order; of more than K the head, then the
    first that fit, then the first of the others. ``action_masks()`` says what is legal (sb3-contrib's ``MaskablePPO``
    uses it): a job that fits now, and waiting while something runs, is to arrive or is down. Under protocol
    ``rlscheduler`` the window is the first K, any job in it may be chosen, is committed, and starts as soon as it fits;
    waiting is not legal. An action that is not legal is replaced by the first legal one, costs ``illegal_penalty`` and
    is told in ``info["illegal"]``.

    A step is a scheduling opportunity: something has ended or arrived, or a job was just started, and a waiting job
    fits. Jobs that start at the same moment are a step each, with ``dt_s`` 0 in between.

    ## Observation space
    ``Box((K + 1) * 13 + 11,)``, float32, all bounds finite. `env.unwrapped.layout.describe()` prints the table:

    | per slot | unit | |
    |---|---|---|
    | up | 0/1 | legal now |
    | is_wait | 0/1 | the last row, which stands for starting nothing |
    | size_share | share | GPUs (processors) of the job over those of the cluster; 0 in an empty slot |
    | estimate_s | s | run time as far as it may be known, 0 where it may not |
    | wait_s | s | since the job arrived |
    | submit_s | s | submit time on the trace's own clock |
    | slowdown | | bounded slowdown if it starts now and runs as estimated |
    | fits | 0/1 | fits on what is free |
    | overdue | 0/1 | waited beyond the wait limit |
    | tenant_share | share | of the cluster, held by the job's tenant |
    | head_delay_s | s | by how much starting it now delays the reservation of the first job in the window |
    | overdue_passed | jobs | 1 + most passes suffered by an overdue job that it would pass; 0: it passes none |
    | displaced_slowdown | | slowdown that it costs the jobs before it that fit now and no longer would |

    | global | unit | |
    |---|---|---|
    | free_share | share | GPUs (processors) that are free |
    | running_jobs, waiting_jobs | jobs | |
    | waiting_hours | h | estimated work that waits over the cluster's size |
    | load_6h | share | estimated work that arrives over the cluster's size, exponentially weighted over 6 h |
    | head_wait_s | s | since the first job in the window arrived |
    | head_reservation_s | s | until it can start if running jobs end when expected; 0 where it fits |
    | head_slip_s | s | by which that is later than first promised |
    | fragmentation | share | of the free GPUs, of no use to a typical job |
    | down_share | share | of the machines |
    | cluster_size | GPUs (processors) | |

    Run times are not visible, only what ``cluster.knowledge`` lets a scheduler know of them.

    ## Reward
    Over an episode the rewards sum to minus the mean, over the window's jobs, of

    | ``reward`` | of each job | while it goes |
    |---|---|---|
    | ``bounded_slowdown`` | max(1, jct / max(run, 10 s)) | a waiting job costs 1 / max(run, 10 s) a second |
    | ``wait_tail`` | (wait / 1 h) squared | a second costs the more the longer the job has waited |
    | ``jct`` | jct in hours, from arrival to end | each job in the system costs the same a second |

    Under ``bounded_slowdown`` a job's end adds what its waits do not account for: 1, lost work, slow machines. The
    reward knows true run times; it is a trainer's signal and no part of the observation. Jobs that never fit the
    cluster are turned away when they arrive and cost nothing.

    Time steps vary: ``info["dt_s"]`` is the simulated time that the reward covers, for those who discount in time
    (SMDP): use ``gamma ** (dt_s / tau_s)``.

    ## Episode
    A window of ``episode_jobs`` jobs of the trace's split, drawn from the environment's own seeded schedule, so that a
    vector environment's automatic resets keep moving through the trace. The episode terminates when its last job has
    ended; that reward includes the time it took. With ``evaluate=True`` the whole split is one episode.

    With ``carry_over`` (protocol ``standard`` only) the cluster is not empty at the start: jobs from before the window
    that would still run had none ever waited arrive at 0 with what is left of their run times, and the standing
    scheduler starts those that it can. The window's first job arrives one second later, and decisions begin.
    Carried-over jobs cost nothing, and predictions of run times start out from the jobs that ended before. Otherwise
    the cluster starts empty and the first job arrives at 0.

    ## Arguments
    trace: a ``JobTrace``, a path, or ``bundled-cluster``; it is replayed as fast as it is (to change the load pass
    ``load_job_trace(path).scale_rate(f)``). cluster: a ``ClusterConfig``; by default servers of 8 GPUs of which the
    split offers 0.8, or the processors that a Standard Workload Format file names, with sjf as the standing order and
    a wait limit of 14 days. split: ``train``, ``validation``, ``test`` or ``all`` of the trace's time (50, 20, 30 %).

    ## Version history
    v0: first version.
    """

    decide = "job"

    def _default_cluster(self, part: JobTrace) -> ClusterConfig:
        return default_cluster(part)

    def _observer_of(self, simulator: ClusterSimulator) -> SchedulerObserver:
        return SchedulerObserver(simulator)

    def _choices(self) -> list[str]:
        layout, seen = self.layout, self._observation
        size = layout.scalar(seen, "cluster_size") * layout.replica(seen, "size_share")
        wait_s, estimate_s = layout.replica(seen, "wait_s"), layout.replica(seen, "estimate_s")
        lines = []
        for slot in np.flatnonzero(layout.replica(seen, "up")).tolist():
            if slot == self._actions - 1:
                lines.append(f"slot {slot:4d}   start nothing")
            else:
                lines.append(
                    f"slot {slot:4d}   size {size[slot]:8.2f}   estimate {estimate_s[slot]:12,.0f} s   "
                    f"waited {wait_s[slot]:12,.0f} s"
                )
        return lines
