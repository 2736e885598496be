"""Sensor faults: what each does to what is seen and heard, whom it reaches, and when."""

from __future__ import annotations

import copy
from functools import cache

import numpy as np
import pytest
from stress_fakes import fallback, guard, named, prepared

from handrail.envs.common import Field, Layout
from handrail.experiments.scenarios import SENSOR_FAULTS, context_of, parse_stress, run_stressed
from handrail.experiments.scenarios.deceived import Deceived, DeceivedObserver, Undeceived
from handrail.experiments.scenarios.distortions import (
    Delayed,
    Frozen,
    Inverted,
    Missing,
    Noisy,
    OutcomesDelayed,
    OutcomesInverted,
    OutcomesMissing,
)
from handrail.experiments.scenarios.telemetry import Telemetry, telemetry_fields, telemetry_of
from handrail.policies import Feedback, OutcomeSignal

LAYOUT = Layout(
    (Field("up", 0, 1, "up"), Field("seen", 0, 100, "reported"), Field("own", 0, 100, "own books")),
    (Field("rate", 0, 100, "own"), Field("system", 0, 100, "reported")),
    3,
)
WHERE = Telemetry(
    np.array([1, 4, 7, 10]),
    np.array([[1, 4, 7]]),
    np.zeros(4, np.float32),
    np.full(4, 100.0, np.float32),
)
TRUE = [0, 2, 3, 5, 6, 8, 9]


def view(*seen, system=9.0):
    rows = [x for value in seen for x in (1.0, value, 50.0)]
    return np.array([*rows, 7.0, system], dtype=np.float32)


def reported(observation):
    return observation[[1, 4, 7]].tolist()


def feed(now_s, decision, *outcomes):
    return Feedback(now_s, decision, None, tuple(outcomes))


def at(distortion, times):
    """What is reported at each time, where replica 0 truly reports the time."""
    return [distortion.observe(view(float(t), 1, 2), float(t))[1] for t in times]


def test_stale_reports_are_of_an_age_and_own_books_stay():
    stale = Delayed(WHERE, 10.0, 20.0, age_s=3.0)
    assert at(stale, range(25)) == [*range(10), *range(7, 17), *range(20, 25)]
    given = view(1.0, 2.0, 3.0)
    before = given.copy()
    assert np.array_equal(Frozen(WHERE, 0.0, 9.0).observe(given, 1.0)[TRUE], before[TRUE])
    assert np.array_equal(given, before)


def test_lagging_reports_fall_behind_at_half_speed():
    lagging = Delayed(WHERE, 10.0, 20.0, speed=0.5)
    assert at(lagging, range(0, 24, 2)) == [0, 2, 4, 6, 8, 10, 10, 12, 12, 14, 20, 22]


def test_frozen_reports_stand_and_thaw():
    assert at(Frozen(WHERE, 10.0, 13.0), range(8, 16)) == [8, 9, 10, 10, 10, 13, 14, 15]


def test_missing_reports_are_the_last_value_then_nothing():
    assert at(Missing(WHERE, 10.0, 16.0, 3.0), range(8, 18)) == [8, 9, 9, 9, 9, 0, 0, 0, 16, 17]
    assert at(Missing(WHERE, 0.0, 5.0, 3.0), range(2)) == [0, 0]


def test_noise_is_seeded_multiplicative_and_within_bounds():
    def noisy(seed):
        return Noisy(WHERE, 0.0, 10.0, 0.5, np.random.default_rng(seed))

    one = noisy(1)
    drawn = np.array([one.observe(view(10.0, 90.0, 0.0), 1.0) for _ in range(400)])
    assert (drawn[:, 7] == 0.0).all()
    assert drawn[:, 4].max() == 100.0
    assert np.median(drawn[:, 1]) == pytest.approx(10.0, rel=0.1)
    assert np.std(np.log(drawn[:, 1])) == pytest.approx(0.5, rel=0.1)
    assert np.array_equal(noisy(1).observe(view(1, 2, 3), 1.0), noisy(1).observe(view(1, 2, 3), 1.0))
    assert not np.array_equal(noisy(1).observe(view(1, 2, 3), 1.0), noisy(2).observe(view(1, 2, 3), 1.0))
    assert np.array_equal(noisy(1).observe(view(1, 2, 3), 10.0), view(1, 2, 3))


def test_inverted_reports_are_mirrored_among_those_that_report():
    inverted = Inverted(WHERE, 0.0, 10.0)
    assert reported(inverted.observe(view(5.0, 1.0, 3.0), 1.0)) == [1.0, 5.0, 3.0]
    assert reported(inverted.observe(view(5.0, 0.0, 3.0), 1.0)) == [3.0, 0.0, 5.0]
    assert inverted.observe(view(5.0, 1.0, 3.0, system=4.0), 1.0)[10] == 4.0


def test_outcomes_come_late_never_or_turned_around():
    a, b, c = (OutcomeSignal(i, i == 0, 0.5) for i in range(3))
    late = OutcomesDelayed(10.0, 20.0, 4.0)
    heard = [late.hear(feed(t, 9, *new)).outcomes for t, new in ((9.0, [a]), (11.0, [b]), (14.9, []), (15.0, [c]))]
    assert heard == [(a,), (), (), (b,)]
    assert late.hear(feed(21.0, 9, a)).outcomes == (c, a)
    assert late.hear(feed(22.0, 9)).outcomes == ()
    missing = OutcomesMissing(10.0, 20.0)
    assert [missing.hear(feed(t, 9, a)).outcomes for t in (9.0, 10.0, 20.0)] == [(a,), (), (a,)]
    turned = OutcomesInverted(10.0, 20.0).hear(feed(11.0, 9, a, b)).outcomes
    assert [o.violated for o in turned] == [False, True]


class Eyes:
    """Keeps what it saw and heard; decides 0."""

    name = "eyes"
    latency_s = 0.25

    def __init__(self):
        self.seen, self.heard = [], []

    def notify(self, feedback):
        self.heard.append(len(feedback.outcomes))

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        self.seen.append(observation[1])
        return 0, state


class Pair:
    """A guarded pair: asks the fallback and the policy with what it is handed, as a guard does."""

    def __init__(self, policy, behind):
        self.policy, self.behind, self.seen = policy, behind, []

    def notify(self, feedback):
        self.behind.notify(feedback)
        self.policy.notify(feedback)

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        self.seen.append(observation[1])
        self.behind.predict(observation)
        return self.policy.predict(observation.copy())


def test_wide_distortions_reach_all_and_narrow_ones_spare_the_fallback():
    policy, behind = Eyes(), Eyes()
    spared = Undeceived(behind)
    pair = Pair(Deceived(policy, (Missing(WHERE, 3.0, 9.0, 0.0),)), spared)
    outer = Deceived(pair, (Frozen(WHERE, 1.0, 9.0), OutcomesMissing(2.0, 9.0)), (Inverted(WHERE, 2.0, 9.0),), spared)
    outcome = OutcomeSignal(0, False, 1.0)
    for t in range(5):
        outer.notify(feed(float(t), t, outcome))
        assert outer.predict(view(10.0 + t, 5.0, 7.0)) == (0, None)
    assert behind.seen == [10, 11, 11, 11, 11]
    assert pair.seen == [10, 11, 5, 5, 5]
    assert policy.seen == [10, 11, 5, 0, 0]
    assert behind.heard == policy.heard == [1, 1, 0, 0, 0]


def test_outcomes_that_only_checks_miss_are_heard_by_the_fallback():
    policy, behind = Eyes(), Eyes()
    spared = Undeceived(behind)
    outer = Deceived(Pair(policy, spared), (), (OutcomesMissing(0.0, 9.0),), spared)
    outer.notify(feed(1.0, 0, OutcomeSignal(0, False, 1.0)))
    assert (behind.heard, policy.heard) == ([1], [0])


def test_a_fork_of_the_fallback_believes_what_it_is_handed():
    behind = Eyes()
    spared = Undeceived(behind)
    given = view(1.0, 2.0, 3.0)
    spared.lend(given, view(9.0, 2.0, 3.0))
    forked = copy.deepcopy(spared)
    forked.predict(given.copy())
    spared.predict(given)
    assert forked._fallback.seen == [1.0]
    assert behind.seen == [9.0]
    assert spared.latency_s == 0.25


def test_a_forked_observer_keeps_what_the_distortion_remembers():
    class Plain:
        layout = LAYOUT

        def __init__(self, simulator):
            self.simulator = simulator

        def __call__(self, point):
            return view(float(point.now_s), 1.0, 2.0)

        def fork(self, simulator):
            return Plain(simulator)

    frozen = Frozen(WHERE, 1.0, 9.0)
    live = DeceivedObserver(Plain("live"), (frozen,))
    assert live(feed(2.0, 0))[1] == 2.0
    forked = live.fork("fork")
    assert forked(feed(3.0, 0))[1] == 2.0
    assert forked._observer.simulator == "fork"


@pytest.mark.parametrize("domain", ["llm", "cluster", "prefetch"])
def test_every_domain_says_what_is_telemetry(domain):
    given = prepared(domain)
    layout = given.domain.layout(given.system)
    names = telemetry_fields(domain)
    where = telemetry_of(domain, layout)
    known = {f.name for f in (*layout.replica_fields, *layout.global_fields)}
    assert names
    assert set(names) <= known
    assert "up" not in names
    labels = np.array(layout.names())[where.positions]
    assert {label.split(".")[-1] for label in labels} == set(names)
    assert where.per_replica.shape[1] == layout.n_replicas


@cache
def decisions(domain, text, arm):
    given = prepared(domain)
    policy = None if arm == "fallback" else named(given, "bundled")
    around = guard(given) if arm == "guarded" else None
    return run_stressed(given, parse_stress(text), fallback=fallback(given), policy=policy, guard=around)


@pytest.mark.parametrize("domain", ["llm", "cluster", "prefetch"])
@pytest.mark.parametrize("fault", SENSOR_FAULTS)
@pytest.mark.parametrize("reach", ["policy", "checks", "all"])
def test_a_sensor_fault_starts_at_its_onset_and_spares_whom_it_does_not_reach(domain, fault, reach):
    text = f"{fault}:{reach}"
    onset_s, _ = parse_stress(text).window_s(context_of(prepared(domain)))
    for arm in ("fallback", "unguarded", "guarded"):
        calm, wild = decisions(domain, "", arm).run.decisions, decisions(domain, text, arm).run.decisions
        n = int((calm.now_s < onset_s).sum())
        assert n == int((wild.now_s < onset_s).sum())
        assert np.array_equal(calm.action[:n], wild.action[:n])
        if arm == "fallback" and reach != "all":
            assert np.array_equal(calm.action, wild.action)


@pytest.mark.parametrize("fault", ["stale", "frozen", "missing", "noisy", "inverted", "lagging"])
def test_deceived_routing_differs_by_reach(fault):
    calm = decisions("llm", "", "fallback").run.decisions.action
    assert not np.array_equal(calm, decisions("llm", f"{fault}:all", "fallback").run.decisions.action)
    alone = decisions("llm", "", "unguarded").run.decisions.action
    each = [decisions("llm", f"{fault}:{reach}", "unguarded").run.decisions.action for reach in ("policy", "all")]
    assert not np.array_equal(alone, each[0])
    assert np.array_equal(*each)  # alone, nobody else could be deceived


def test_the_fallback_behind_deceived_checks_decides_by_true_sensors():
    told = {}
    for reach in ("policy", "checks", "all"):
        done = decisions("llm", f"inverted:{reach}", "guarded")
        told[reach] = done.decider.recorder.column("fallback")
        first = int((done.run.decisions.now_s >= done.window_s[0]).argmax())
        calm = decisions("llm", "", "guarded").decider.recorder.column("fallback")
        assert np.array_equal(told[reach][:first], calm[:first])
        told[reach] = told[reach][first]
    assert told["policy"] == told["checks"]


def test_a_guard_that_forecasts_is_bound_to_what_its_fallback_sees():
    class Bound(Eyes):
        watch = "each point"

        def bind(self, simulator, observer):
            self.bound = (simulator, observer)

    wide, narrow, guarded = Frozen(WHERE, 1.0, 9.0), Inverted(WHERE, 1.0, 9.0), Bound()
    observer = DeceivedObserver(type("Plain", (), {"layout": LAYOUT})(), ())
    Deceived(guarded, (), (narrow,)).bind("simulator", observer)
    assert guarded.bound == ("simulator", observer)
    outer = Deceived(guarded, (wide,), (narrow,))
    outer.bind("simulator", observer)
    assert isinstance(guarded.bound[1], DeceivedObserver)
    assert guarded.bound[1] is not observer
    assert outer.watch == "each point"
    assert Deceived(Eyes(), (wide,)).watch is None
