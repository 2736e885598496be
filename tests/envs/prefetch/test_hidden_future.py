"""What is hidden can be drawn anew in forks: from the past alone, the same for the same seed."""

from __future__ import annotations

from collections import Counter
from unittest.mock import patch

import numpy as np
import pytest
from fork_checks import play
from prefetch_samples import accesses, three_tenants

from handrail.envs.prefetch import Arm, CacheConfig, HiddenModel, PrefetchObserver, PrefetchSimulator, TierConfig
from handrail.envs.prefetch.draw import draw_accesses
from handrail.envs.prefetch.future import Future
from handrail.envs.prefetch.hidden import ROWS
from handrail.envs.prefetch.past import TenantPast
from handrail.traces import AccessTrace
from handrail.traces.errors import HandrailError

MENU = (
    "none",
    "obl:1",
    "stride:4",
    "markov:2",
    "readahead:8",
    "spp:4",
    "leap:8",
    "mithril:2",
    "next-line:8",
    "oracle:4",
)
ANSWERS = [(1, 0.0), (3, 2e-3), (0, 0.0), (9, 0.0), (4, 0.0), (6, 0.0)]
PAST_ANSWERS = [answer for answer in ANSWERS if answer[0] != 9]
"""Without the oracle, whose past prefetches knew the true future."""
PAST = 900


def trace_to(n: int, cut: int, other: int | None) -> AccessTrace:
    """A trace; with ``other`` the accesses from row ``cut`` on are other ones, the first at the same time."""
    rng = np.random.default_rng(5)
    trace = three_tenants(n, is_write=rng.random(n) < 0.1, size_bytes=rng.integers(1_000, 8_000, n))
    if other is None:
        return trace
    rng = np.random.default_rng(other)
    values = {}
    arrival_s = trace.arrival_s.copy()
    arrival_s[cut + 1 :] = arrival_s[cut] + np.cumsum(rng.exponential(2e-3, n - cut - 1))
    for column, drawn in (
        ("key", rng.integers(0, 3_000, n - cut)),
        ("size_bytes", rng.integers(1_000, 8_000, n - cut)),
        ("tenant", rng.integers(0, 3, n - cut)),
        ("is_write", rng.random(n - cut) < 0.5),
    ):
        values[column] = getattr(trace, column).copy()
        values[column][cut:] = drawn
    return trace.replace(arrival_s=arrival_s, **values)


def build(trace: AccessTrace, **options: object) -> tuple[PrefetchSimulator, PrefetchObserver, HiddenModel]:
    values = {
        "objects": 120,
        "tier": TierConfig(latency_s=6e-3, service_s=3e-4),
        "menu": MENU,
        "every_accesses": 30,
        **options,
    }
    simulator = PrefetchSimulator(CacheConfig(**values), trace, decide="policy", rows=(300, len(trace)), warm=100)
    return simulator, PrefetchObserver(simulator), simulator.hidden_model()


def play_to(simulator, observer, model, decisions: int):
    for _ in range(decisions):
        point = simulator.advance()
        assert point is not None
        observer(point)
        model.note(point)
        arm, latency_s = PAST_ANSWERS[point.decision % len(PAST_ANSWERS)]
        simulator.apply(arm, latency_s)
    point = simulator.advance()
    assert point is not None
    observer(point)
    return point


def drawn_of(future: Future) -> list[bytes]:
    """Everything that a future says."""
    trace = future.trace
    columns = [trace.arrival_s, trace.key, trace.size_bytes, trace.is_write, trace.tenant, np.array(future.positions)]
    said = [repr(sorted(future.suggestions.items())).encode()]
    return (
        [column.tobytes() for column in columns]
        + said
        + [part.tobytes() for of in future.continued for part in (of.counts, of.features)]
    )


CASES = {
    "open": {},
    "paced": {"demand": "paced", "window": 3},
    "closed": {"demand": "closed", "window": 2},
    "timeless": {"demand": "timeless"},
    "seconds": {"every_accesses": None, "every_s": 0.02},
    "belady": {"eviction": "belady"},
    "seen, per tenant": {"backing": "seen", "per_tenant": True},
    "ghost": {"ghost": True},
}


@pytest.mark.parametrize("case", sorted(CASES.keys() - {"belady"}))  # whose past evictions knew the true future
@pytest.mark.parametrize("factor", [1.0, 1.2])
def test_nothing_of_the_true_future_is_left(case, factor):
    """Two traces that are equal up to now give the same drawn futures, and forks that go on alike in them."""
    found = []
    for other in (None, 11):
        options = CASES[case]
        cut = 300 + 30 * 20
        slowdowns = ((0.2, 0.25, 2.0), (1e3, 1e4, 5.0 if other else 3.0))
        tier = TierConfig(latency_s=6e-3, service_s=3e-4, slowdowns=slowdowns)
        if case in ("paced", "closed", "seconds"):
            cut = 3_300  # tenants run ahead of, or behind, the order of the trace
        decisions = 60 if options.get("per_tenant") else 20
        simulator, observer, model = build(trace_to(4_000, cut, other), tier=tier, **options)
        point = play_to(simulator, observer, model, decisions)
        fork = simulator.fork()
        model.redraw(fork, np.random.default_rng(3), factor)
        assert fork.future is not None
        assert fork.trace is fork.engine.trace is fork.future.trace
        own = observer.fork(fork)
        arm, latency_s = ANSWERS[2]
        fork.apply(arm, latency_s)
        again = fork.fork()
        seen = play(fork, ANSWERS, observer=own)
        assert play(again, ANSWERS, observer=observer.fork(again)) == seen
        assert len(seen) > 10
        found.append((point[:2], drawn_of(fork.future), seen, fork.charged_s(), fork.now_s))
    assert found[0] == found[1]


def test_the_same_seed_draws_the_same_and_another_one_another():
    simulator, observer, model = build(trace_to(2_400, PAST, None))
    play_to(simulator, observer, model, 20)
    drawn = []
    for seed in (1, 1, 2):
        fork = simulator.fork()
        model.redraw(fork, np.random.default_rng(seed))
        drawn.append(drawn_of(fork.future))
    assert drawn[0] == drawn[1] != drawn[2]


def test_drawing_leaves_the_original_alone():
    whole, its_observer, _ = build(trace_to(1_800, PAST, None))
    expected = play(whole, ANSWERS, observer=its_observer)
    simulator, observer, model = build(trace_to(1_800, PAST, None))
    seen = []
    for number in range(len(expected)):
        seen += play(simulator, ANSWERS, 1, observer)
        if number % 7 == 0:
            fork = simulator.fork()
            model.note(None)
            model.redraw(fork, np.random.default_rng(number))
            play(fork, ANSWERS[::-1])
    assert seen == expected


@pytest.mark.parametrize("case", ["open", "timeless", "seen, per tenant", "belady", "ghost"])
def test_with_the_true_future_in_its_place_a_fork_goes_on_as_the_original(case):
    """Suggestions, streams and shadows that are worked out from the past on are those of the whole trace."""
    simulator, observer, model = build(trace_to(1_500, PAST, None), **CASES[case])
    play_to(simulator, observer, model, 20)
    fork, row = simulator.fork(), simulator.engine.start + simulator.engine.row
    trace = simulator.trace
    rest = np.arange(row, len(trace))
    truth = trace.take(rest, trace.arrival_s[rest] - trace.arrival_s[300])
    with patch.object(HiddenModel, "_draw", lambda *_: truth):
        model.redraw(fork, np.random.default_rng(0))
    own = observer.fork(fork)
    for each in (simulator, fork):
        each.apply(1)
    expected = play(simulator, ANSWERS, observer=observer)
    assert play(fork, ANSWERS, observer=own) == expected
    assert len(expected) > 5
    assert fork.charged_s() == simulator.charged_s()


def test_a_scan_goes_on_to_ids_never_seen_and_a_loop_over_few_stays_among_them():
    scan = draw_accesses(np.arange(5, 3_005), np.arange(3_000) * 1e-3, np.random.default_rng(0), 500, np.inf)
    np.testing.assert_array_equal(scan.key, np.arange(3_005, 3_505))
    np.testing.assert_allclose(scan.gap_s, 1e-3, atol=1e-12)
    few = np.random.default_rng(1).choice([7, 100, 350, 2_000], 3_000)
    drawn = draw_accesses(few, np.arange(3_000) * 1e-3, np.random.default_rng(0), 500, np.inf)
    strays = np.setdiff1d(drawn.key, few)
    assert len(drawn.key) == 500
    assert np.isin(drawn.key, few).mean() > 0.95, strays


def test_runs_end_as_often_as_they_did_and_popular_ids_stay_popular():
    rng = np.random.default_rng(2)
    keys: list[int] = []
    while len(keys) < 8_000:
        keys += (
            range(int(start := rng.integers(10_000, 10**6)), int(start) + 20)
            if rng.random() < 0.5
            else np.minimum(rng.zipf(1.5, 20), 500).tolist()
        )
    past = np.array(keys)
    drawn = draw_accesses(past, np.arange(len(past)) * 1e-3, rng, 4_000, np.inf).key
    assert np.mean(np.diff(drawn) == 1) == pytest.approx(np.mean(np.diff(past) == 1), rel=0.15)
    assert np.mean(drawn == 1) == pytest.approx(np.mean(past == 1), rel=0.2)
    assert Counter(drawn.tolist()).most_common(1)[0][0] == 1


def test_what_is_drawn_keeps_rate_and_mix():
    simulator, observer, model = build(trace_to(6_000, PAST, None))
    play_to(simulator, observer, model, 100)
    fork = simulator.fork()
    model.redraw(fork, np.random.default_rng(1))
    past = simulator.trace.head(300 + 3_000)
    drawn = fork.future.trace
    assert len(drawn) == ROWS
    assert drawn.arrival_s[0] == fork.now_s
    assert drawn.duration_s / len(drawn) == pytest.approx(past.duration_s / len(past), rel=0.25)
    shares = [np.bincount(each.tenant, minlength=3) / len(each) for each in (drawn, past)]
    np.testing.assert_allclose(shares[0], shares[1], atol=0.08)


@pytest.mark.parametrize("discipline", ["fifo", "demand-first", "bounded"])
def test_slower_tiers_take_longer_for_what_is_under_way_too(discipline):
    keys = np.arange(2_000) * 50
    charged = []
    for factor in (0.8, 1.0, 1.25):
        tier = TierConfig(latency_s=6e-3, service_s=9e-4, discipline=discipline)
        config = CacheConfig(objects=50, tier=tier, menu=("none", "obl:1", "next-line:8"), every_accesses=40)
        simulator = PrefetchSimulator(config, accesses(keys), decide="policy")
        model = simulator.hidden_model()
        play(simulator, [(2, 0.0)], 10)
        model.note(simulator.advance())
        fork = simulator.fork()
        model.redraw(fork, np.random.default_rng(0), factor)
        play_from = fork.charged_s()
        fork.apply(0)
        play(fork, [(0, 0.0)])
        fork.engine.check_invariants()
        charged.append(fork.charged_s() - play_from)
    assert charged[0] < 0.95 * charged[1] < charged[1] < 0.95 * charged[2]


def test_a_fork_drawn_anew_has_no_results_and_wrong_calls_are_refused():
    simulator, observer, model = build(trace_to(1_500, PAST, None))
    play_to(simulator, observer, model, 10)
    fork, late = simulator.fork(), simulator.fork()
    with pytest.raises(HandrailError, match="above 0"):
        model.redraw(fork, np.random.default_rng(0), 0.0)
    model.redraw(fork, np.random.default_rng(0))
    for wrong in (fork.results, fork.hidden_model, lambda: model.redraw(fork, np.random.default_rng(0))):
        with pytest.raises(HandrailError):
            wrong()
    simulator.apply(1)
    play(simulator, ANSWERS, 3)
    model.note(None)
    with pytest.raises(HandrailError, match="not come to yet"):
        model.redraw(late, np.random.default_rng(0))


def test_before_the_first_access_nothing_follows():
    trace = three_tenants(400)
    simulator = PrefetchSimulator(CacheConfig(objects=50), trace, decide="policy")
    model = simulator.hidden_model()
    model.note(simulator.advance())
    fork = simulator.fork()
    model.redraw(fork, np.random.default_rng(0))
    fork.apply(0)
    assert fork.advance() is None
    assert fork.charged_s() == 0.0


def test_ids_that_were_new_are_new_again_and_keep_their_distances():
    rng = np.random.default_rng(4)
    past = np.repeat(rng.permutation(4_000) * 10, 2)[:6_000]  # each id twice in a row, no runs
    first = np.zeros(len(past), dtype=bool)
    first[np.unique(past, return_index=True)[1]] = True
    above = int(past.max()) + 1
    arrival_s = np.arange(len(past)) * 1e-3
    drawn = draw_accesses(past, arrival_s, np.random.default_rng(5), 2_000, np.inf, first, above)
    new = drawn.key >= above
    assert new.mean() > 0.95  # all but a second access whose first one lies before its block
    assert len(np.unique(drawn.key[new])) == pytest.approx(1_000, rel=0.05)
    together = np.diff(drawn.source) == 1
    steps = np.diff(drawn.key)
    kept = together & new[1:] & new[:-1]
    np.testing.assert_array_equal(steps[kept], np.diff(past)[drawn.source[:-1][kept]])
    old = draw_accesses(past, arrival_s, np.random.default_rng(5), 2_000, np.inf)
    np.testing.assert_array_equal(old.source, drawn.source)
    assert old.key.max() < above


def test_a_past_knows_which_accesses_were_the_first_of_their_ids():
    past = TenantPast([Arm.parse("none"), Arm.parse("obl:1")], "all")
    past.learn([5, 7, 5])
    past.learn([7, 9, 9])
    assert list(past.first) == [1, 1, 0, 0, 1, 0]
    assert past.highest == 9
    past.fork().learn([1])
    assert len(past.first) == 6
