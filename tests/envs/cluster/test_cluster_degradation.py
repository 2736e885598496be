"""Machines that slow down and processors that go away: when jobs end, to the second, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from handrail.envs.cluster import (
    FINISHED,
    KILLED,
    ClusterConfig,
    ClusterSimulator,
    Faults,
    MachineGroup,
    MachineSlowdown,
    ProcessorOutage,
    SchedulerObserver,
    layout_for,
)
from handrail.envs.cluster.layout import TELEMETRY_FIELDS
from handrail.traces import HandrailError, JobTrace


def jobs(arrival_s: list[float], run_s: list[float], size: list[int], *, gpus: bool = True) -> JobTrace:
    whole, zeros = 1000 * np.array(size), np.zeros(len(size), dtype=np.int64)
    return JobTrace(
        np.array(arrival_s),
        np.array(run_s),
        np.array(run_s),
        np.ones(len(size), dtype=np.int64),
        whole if gpus else zeros,
        zeros if gpus else whole,
        zeros,
    )


def slowed(*slowdowns: tuple[int, float, float, float], **settings: object) -> ClusterConfig:
    listed = tuple(MachineSlowdown(machine=m, start_s=s, end_s=e, factor=f) for m, s, e, f in slowdowns)
    groups = (MachineGroup(machines=2, gpus=4),)
    return ClusterConfig(groups=groups, placement="first-fit", faults=Faults(slowdowns=listed), **settings)


def ends_of(config: ClusterConfig, trace: JobTrace):
    simulator = ClusterSimulator(config, trace)
    simulator.advance()
    return simulator.results()


def test_ends_move_at_the_bounds_of_a_window():
    # 100 s of work: 40 s, then 20 s in 60 s at a third of the pace, then 40 s.
    assert ends_of(slowed((0, 40.0, 100.0, 3.0)), jobs([0.0], [100.0], [1])).finish_s[0] == 140.0
    # Of two at once the larger counts: 40 + 20/2 + 20/4 + 20/2 = 65 by 100 s.
    both = slowed((0, 40.0, 100.0, 2.0), (0, 60.0, 80.0, 4.0))
    assert ends_of(both, jobs([0.0], [100.0], [1])).finish_s[0] == 135.0
    # One that starts within the window; another machine's is none of its business.
    assert ends_of(slowed((0, 0.0, 50.0, 2.0)), jobs([10.0], [100.0], [1])).finish_s[0] == 130.0
    assert ends_of(slowed((1, 0.0, 500.0, 9.0)), jobs([0.0], [100.0], [1])).finish_s[0] == 100.0


def test_a_gang_runs_at_the_pace_of_its_slowest_machine():
    assert ends_of(slowed((1, 0.0, 40.0, 2.0)), jobs([0.0], [100.0], [8])).finish_s[0] == 120.0


def test_limits_are_not_extended():
    results = ends_of(slowed((0, 0.0, 40.0, 2.0), kill_at_limit=True), jobs([0.0, 0.0], [100.0, 30.0], [1, 1]))
    assert results.finish_s.tolist() == [100.0, 30.0]
    assert (results.status == KILLED).all()


def test_nobody_is_told_of_a_slowdown():
    trace = jobs([0.0, 1.0, 60.0, 70.0], [100.0, 100.0, 5.0, 5.0], [4, 4, 1, 1])
    seen = []
    for config in (slowed(), slowed((0, 10.0, 95.0, 2.0))):
        simulator = ClusterSimulator(config, trace, decide="job")
        observer = SchedulerObserver(simulator)
        turns = []
        while (point := simulator.advance_until(99.0)) is not None:
            turns.append((point.now_s, observer(point).tobytes()))
            simulator.apply(0)
        seen.append(turns)
    assert seen[0] == seen[1] != []


def test_processors_go_away_the_youngest_jobs_first():
    gone = (ProcessorOutage(start_s=50.0, end_s=70.0, processors=4),)
    config = ClusterConfig(processors=8, faults=Faults(processor_outages=gone, checkpoint_s=20.0))
    results = ends_of(config, jobs([0.0, 10.0, 20.0], [100.0, 100.0, 100.0], [3, 3, 2], gpus=False))
    # The third and then the second are stopped at 50 s; the second (which asks first) waits for the return at 70 s.
    assert results.finish_s.tolist() == [100.0, 130.0, 150.0]
    assert results.attempts.tolist() == [1, 2, 2]
    assert results.wasted_s.tolist() == [0.0, 0.0, 10.0]
    assert (results.status == FINISHED).all()
    usage = results.usage
    assert dict(zip(usage.times_s.tolist(), usage.down_size.tolist(), strict=True))[50.0] == 4.0
    assert usage.down_size[-1] == 0.0


def test_a_loss_shows_when_it_has_happened():
    gone = (ProcessorOutage(start_s=50.0, end_s=90.0, processors=6),)
    trace = jobs([0.0, 60.0, 100.0], [10.0, 10.0, 10.0], [1, 1, 1], gpus=False)
    simulator = ClusterSimulator(
        ClusterConfig(processors=8, faults=Faults(processor_outages=gone)), trace, decide="job"
    )
    observer = SchedulerObserver(simulator)
    shares = []
    while (point := simulator.advance()) is not None:
        seen = observer(point)
        shares.append(tuple(observer.layout.scalar(seen, name) for name in ("down_share", "free_share")))
        simulator.apply(0)
    assert shares == [(0.0, 1.0), (0.75, 0.25), (0.0, 1.0)]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"processors": 8, "faults": {"slowdowns": [{"machine": 0, "start_s": 0, "end_s": 1, "factor": 2}]}}, "slow"),
        ({"groups": ({"machines": 2},), "faults": {"processor_outages": [[]]}}, "processor_outages"),
        (
            {
                "groups": ({"machines": 2},),
                "faults": {"processor_outages": [{"start_s": 0, "end_s": 1, "processors": 1}]},
            },
            "use faults.outages",
        ),
        (
            {
                "groups": ({"machines": 2},),
                "faults": {"slowdowns": [{"machine": 2, "start_s": 0, "end_s": 1, "factor": 2}]},
            },
            "names machine 2 of 2",
        ),
        (
            {
                "processors": 8,
                "faults": {
                    "processor_outages": [
                        {"start_s": 0, "end_s": 9, "processors": 5},
                        {"start_s": 5, "end_s": 9, "processors": 4},
                    ]
                },
            },
            "take 9 of 8 processors at 5 s",
        ),
    ],
)
def test_what_cannot_be_is_refused(settings, says):
    with pytest.raises(HandrailError, match=says):
        ClusterConfig.parse(**settings)


def test_telemetry_fields_are_fields():
    layout = layout_for(4)
    names = {field.name for field in (*layout.replica_fields, *layout.global_fields)}
    assert names > TELEMETRY_FIELDS
    assert not TELEMETRY_FIELDS & {"up", "is_wait", "size_share", "wait_s", "submit_s", "overdue", "overdue_passed"}
