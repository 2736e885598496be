"""The state machine: by table, and by Hypothesis against what must hold of every run."""

from __future__ import annotations

from itertools import accumulate, zip_longest

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from handrail.policies.guards import State, Supervisor, SupervisorConfig, Verdict

ACCEPT = Verdict("accept", "c", "ok")
VETO = Verdict("veto", "c", "unwise")
FAULT = Verdict("veto", "contract", "policy-raised")
TRIP = Verdict("trip", "b", "too-many")
CLOSED, OPEN, HALF_OPEN = State.CLOSED, State.OPEN, State.HALF_OPEN

SMALL = SupervisorConfig(
    min_dwell_s=10,
    backoff_factor=2,
    max_dwell_s=35,
    healthy_reset_s=100,
    probe_decisions=4,
    probe_outcomes=2,
    probe_timeout_s=20,
    faults_in_a_row=3,
    veto_window_decisions=10,
    veto_share_limit=0.3,
)


class Run:
    """Drives a supervisor as a guard does and keeps what happened."""

    def __init__(self, config: SupervisorConfig = SMALL, outcomes_are_judged: bool = True) -> None:
        self.supervisor = Supervisor(config, outcomes_are_judged=outcomes_are_judged)
        self.decision = 0
        self.asked: list[bool] = []

    def step(self, now_s: float, verdict: Verdict = ACCEPT, known: int = 0, tripped: bool = False) -> State:
        s = self.supervisor
        s.advance(now_s, self.decision)
        if tripped:
            s.trip(now_s, self.decision, "too-many")
        s.note_outcomes(now_s, self.decision, known)
        asked = s.asks and not tripped
        if asked:
            s.note_verdict(now_s, self.decision, verdict, fault=verdict is FAULT)
        self.asked.append(asked)
        self.decision += 1
        return s.state


TABLE = [
    # name, steps of (now_s, verdict, known outcomes, breaker tripped), state after each
    ("stays closed", [(0, ACCEPT, 0, False), (1, VETO, 0, False)], [CLOSED, CLOSED]),
    ("breaker opens at once", [(0, ACCEPT, 0, True)], [OPEN]),
    ("two faults in a row do not", [(0, FAULT, 0, False), (1, FAULT, 0, False), (2, ACCEPT, 0, False)], [CLOSED] * 3),
    (
        "an accept between faults starts the count anew",
        [(0, FAULT, 0, False), (1, FAULT, 0, False), (2, ACCEPT, 0, False), (3, FAULT, 0, False)],
        [CLOSED] * 4,
    ),
    ("three faults in a row open", [(i, FAULT, 0, False) for i in range(3)], [CLOSED, CLOSED, OPEN]),
    ("vetoes above the share open", [(i, VETO, 0, False) for i in range(4)], [CLOSED] * 3 + [OPEN]),
    (
        "vetoes at the share do not",
        [(i, VETO if i % 10 in (1, 4, 7) else ACCEPT, 0, False) for i in range(30)],
        [CLOSED] * 30,
    ),
    ("open until the dwell is over", [(0, ACCEPT, 0, True), (9.9, ACCEPT, 0, False)], [OPEN, OPEN]),
    ("then half-open", [(0, ACCEPT, 0, True), (10, ACCEPT, 0, False)], [OPEN, HALF_OPEN]),
    (
        "probes, then outcomes, then closed",
        [(0, ACCEPT, 0, True)]
        + [(10 + i, ACCEPT, 0, False) for i in range(4)]
        + [(14, ACCEPT, 1, False), (15, ACCEPT, 1, False)],
        [OPEN] + [HALF_OPEN] * 5 + [CLOSED],
    ),
    (
        "outcomes that come during the probes count",
        [(0, ACCEPT, 0, True)] + [(10 + i, ACCEPT, 1, False) for i in range(4)] + [(14, ACCEPT, 0, False)],
        [OPEN] + [HALF_OPEN] * 4 + [CLOSED],
    ),
    (
        "probe outcomes that never come open again",
        [(0, ACCEPT, 0, True)]
        + [(10 + i, ACCEPT, 0, False) for i in range(4)]
        + [(32.9, ACCEPT, 0, False), (33, ACCEPT, 0, False)],
        [OPEN] + [HALF_OPEN] * 5 + [OPEN],
    ),
    ("the first fault of a probe opens", [(0, ACCEPT, 0, True), (10, FAULT, 0, False)], [OPEN, OPEN]),
    (
        "vetoed probes open",
        [(0, ACCEPT, 0, True), (10, VETO, 0, False), (11, VETO, 0, False)],
        [OPEN, HALF_OPEN, OPEN],
    ),
    (
        "a trip while half-open opens",
        [(0, ACCEPT, 0, True), (10, ACCEPT, 0, False), (11, ACCEPT, 0, True)],
        [OPEN, HALF_OPEN, OPEN],
    ),
    (
        "the second opening lasts twice as long",
        [(0, ACCEPT, 0, True), (10, FAULT, 0, False), (29.9, ACCEPT, 0, False), (30, ACCEPT, 0, False)],
        [OPEN, OPEN, OPEN, HALF_OPEN],
    ),
    (
        "the third is at the cap",
        [
            (0, ACCEPT, 0, True),
            (10, FAULT, 0, False),
            (30, FAULT, 0, False),
            (64.9, VETO, 0, False),
            (65, VETO, 0, False),
        ],
        [OPEN, OPEN, OPEN, OPEN, HALF_OPEN],
    ),
]


@pytest.mark.parametrize(("steps", "states"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_table(steps, states):
    run = Run()
    assert [run.step(*step) for step in steps] == states


def close_after_probes(run: Run, now_s: float) -> None:
    for i in range(4):
        run.step(now_s + 0.1 * i)
    assert run.step(now_s + 1, known=2) is CLOSED


def test_long_health_resets_the_backoff_and_short_health_does_not():
    run = Run()
    run.step(0, tripped=True)
    close_after_probes(run, 10)
    run.step(50)
    assert run.supervisor.next_dwell_s == 20
    run.step(110.9)
    assert run.supervisor.next_dwell_s == 20
    run.step(111)
    assert run.supervisor.next_dwell_s == 10


def test_a_trip_while_open_does_not_lengthen_it():
    run = Run()
    run.step(0, tripped=True)
    run.step(5, tripped=True)
    assert run.step(10) is HALF_OPEN
    assert [t.after for t in run.supervisor.transitions] == [OPEN, HALF_OPEN]


def test_without_a_check_of_outcomes_probes_alone_close_it():
    run = Run(outcomes_are_judged=False)
    run.step(0, tripped=True)
    for i in range(4):
        assert run.step(10 + i) is HALF_OPEN
    assert run.step(14) is CLOSED


def test_old_vetoes_are_forgotten_when_it_closes():
    run = Run()
    for i in range(4):
        run.step(i, VETO)
    close_after_probes(run, 14)
    assert [run.step(16 + i, VETO) for i in range(3)] == [CLOSED] * 3


@pytest.mark.parametrize(
    "bad",
    [
        {"max_dwell_s": 5, "min_dwell_s": 10},
        {"probe_outcomes": 9, "probe_decisions": 8},
        {"backoff_factor": 0.5},
        {"min_dwell_s": float("nan")},
        {"min_dwel_s": 5},
    ],
)
def test_config_refuses(bad):
    with pytest.raises(ValidationError):
        SupervisorConfig(**bad)


STEPS = st.lists(
    st.tuples(
        st.floats(0, 60, allow_nan=False),
        st.sampled_from([ACCEPT] * 12 + [VETO, FAULT, TRIP]),
        st.integers(0, 3),
        st.sampled_from([False] * 14 + [True]),
    ),
    min_size=1,
    max_size=200,
)


@settings(max_examples=300, deadline=None)
@given(STEPS, st.booleans())
def test_what_holds_of_every_run(steps, outcomes_are_judged):
    run, now_s, first_s = Run(outcomes_are_judged=outcomes_are_judged), 0.0, None
    for gap_s, *rest in steps:
        now_s += gap_s
        first_s = now_s if first_s is None else first_s
        run.step(now_s, *rest)

    def asked_in(start: int, stop: int) -> int:
        return sum(run.asked[start:stop])

    changes = run.supervisor.transitions
    closed_since_s, dwell_s, openings = first_s, SMALL.min_dwell_s, 0
    for change, following in zip_longest(changes, changes[1:]):
        end = following.decision if following else run.decision
        assert change.before != change.after
        if change.after is OPEN:
            openings += 1
            healthy = change.before is CLOSED and change.now_s - closed_since_s >= SMALL.healthy_reset_s
            grown = min(dwell_s * SMALL.backoff_factor, SMALL.max_dwell_s)  # monotone backoff up to the cap
            dwell_s = SMALL.min_dwell_s if healthy or openings == 1 else grown
            assert asked_in(change.decision + 1, end) == 0
            if following:
                assert following.after is HALF_OPEN
                assert following.now_s >= change.now_s + dwell_s  # minimum dwell
            else:
                late = [
                    i for i in range(change.decision + 1, run.decision) if times(steps)[i] >= change.now_s + dwell_s
                ]
                assert not late  # and no longer than that
        elif change.after is HALF_OPEN:
            # The decision at which it opens again may have been a probe; the one at which it closes is none.
            reopened = following is not None and following.after is OPEN
            probes = asked_in(change.decision, end + reopened)
            assert probes <= SMALL.probe_decisions  # bounded probes
            if following and following.after is CLOSED:
                assert probes == SMALL.probe_decisions
        else:
            assert change.before is HALF_OPEN
            closed_since_s = change.now_s
    event(f"closed again: {any(change.after is CLOSED for change in changes)}")
    event(f"openings: {min(openings, 4)}")


def times(steps) -> list[float]:
    return list(accumulate(gap_s for gap_s, *_ in steps))


@settings(deadline=None)
@given(STEPS)
def test_same_inputs_same_transitions(steps):
    def transitions():
        run, now_s = Run(), 0.0
        for gap_s, *rest in steps:
            now_s += gap_s
            run.step(now_s, *rest)
        return run.supervisor.transitions, run.asked

    assert transitions() == transitions()
