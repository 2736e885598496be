"""Ways of changing a trace's rate, and what is said of them."""

from __future__ import annotations

import numpy as np
import pytest

from handrail.experiments.load import REQUESTS, change_load, change_rate, describe_traffic
from handrail.experiments.rescale import KEPT_ITEMS, default_method
from handrail.traces import HandrailError, RequestTrace


def poisson(n=4000, rate=2.0, seed=1, sessions=False):
    rng = np.random.default_rng(seed)
    return RequestTrace(
        arrival_s=np.cumsum(rng.exponential(1 / rate, n)),
        prompt_tokens=rng.integers(1, 100, n),
        output_tokens=rng.integers(1, 100, n),
        session_id=np.arange(n) // 400 * 100 + np.arange(n) % 100 if sessions else None,
        name="poisson",
    )


def test_a_poisson_stream_has_cv_and_fano_of_one():
    traffic = describe_traffic(poisson(40_000).arrival_s)
    assert traffic.rate_rps == pytest.approx(2.0, rel=0.03)
    assert traffic.interarrival_cv == pytest.approx(1.0, abs=0.03)
    assert traffic.fano_1s == pytest.approx(1.0, abs=0.05)
    assert traffic.fano_60s == pytest.approx(1.0, abs=0.25)


def test_fano_counts_whole_bins_only():
    arrival_s = np.array([0.0, 0.1, 0.2, 1.5, 2.5, 2.6, 3.1])
    counts = np.array([3, 1, 2])
    assert describe_traffic(arrival_s).fano_1s == pytest.approx(counts.var() / counts.mean())
    assert describe_traffic(arrival_s).fano_60s is None


def test_simultaneous_arrivals_have_no_rate():
    traffic = describe_traffic(np.zeros(5))
    assert traffic.rate_rps is None
    assert traffic.interarrival_cv is None


@pytest.mark.parametrize(
    ("factor", "duration_s", "method"),
    [(0.5, 1e4, "thin"), (1.0, 1e4, "thin"), (3.2, 1e4, "superpose"), (32.0, 960, "superpose"), (32.0, 959, "compress"),
     (32.1, 1e9, "compress"), (5.0, 149, "compress")],
)  # fmt: skip
def test_the_default_way_follows_the_stated_rule(factor, duration_s, method):
    trace = RequestTrace(
        arrival_s=np.array([0.0, duration_s]), prompt_tokens=np.array([1, 1]), output_tokens=np.array([1, 1])
    )
    assert default_method(trace, factor, REQUESTS) == method


@pytest.mark.parametrize(
    ("factor", "method"), [(0.4, "thin"), (2.5, "superpose"), (4.0, "superpose"), (2.5, "compress"), (0.4, "compress")]
)
def test_each_way_reaches_its_factor(factor, method):
    trace = poisson()
    changed, change = change_rate(trace, factor, method, seed=3)
    assert change.method == method
    assert change.after.rate_rps == pytest.approx(factor * change.before.rate_rps, rel=0.05)
    if method != "compress":
        assert changed.duration_s == pytest.approx(trace.duration_s, rel=0.02)
    else:
        assert len(changed) == len(trace)


def test_a_factor_of_one_leaves_the_trace_alone():
    trace = poisson(100)
    changed, change = change_rate(trace, 1.0)
    assert changed is trace
    assert change.method == "as-is"


def test_compression_makes_up_for_think_times_that_stay():
    trace = poisson(sessions=True)
    changed, change = change_rate(trace, 4.0, "compress")
    assert change.after.rate_rps == pytest.approx(4.0 * change.before.rate_rps, rel=0.02)
    assert change.compression > 5.0
    first = changed.arrival_s[changed.session_id == 7]
    assert np.diff(first) == pytest.approx(np.diff(trace.arrival_s[7:400:100]))


def test_where_think_times_fill_the_trace_compression_gives_way_or_says_so():
    trace = poisson(sessions=True)
    with pytest.raises(HandrailError, match=r"think times within sessions stay.*use --load-by superpose"):
        change_rate(trace, 40.0, "compress")
    changed, change = change_rate(trace, 40.0)
    assert change.method == "superpose"
    assert change.copies == 40
    assert len(changed) == KEPT_ITEMS
    assert change.after.rate_rps == pytest.approx(40.0 * change.before.rate_rps, rel=0.1)
    assert "from the middle" in change.sentence()


def test_superposing_without_end_is_refused():
    with pytest.raises(HandrailError, match="is too much; use compress"):
        change_rate(poisson(), 1e5, "superpose")


def test_the_same_seed_gives_the_same_trace_and_another_one_another():
    hashes = [change_rate(poisson(500), 2.5, "superpose", seed)[0].content_hash for seed in (1, 1, 2)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_load_is_a_share_of_capacity():
    _, change = change_load(poisson(), 0.8, capacity_rps=10.0)
    assert change.factor == pytest.approx(4.0, rel=0.05)
    assert 0.76 <= change.utilisation <= 0.84
    assert change.sentence().startswith("load: x ")
    assert "utilisation 0.8" in change.sentence()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"factor": 0.0}, "must lie within .* not 0"),
        ({"factor": float("nan")}, "must lie within .* not nan"),
        ({"factor": 2.0, "method": "thin"}, "thinning cannot raise the rate"),
        ({"factor": 2.0, "method": "squeeze"}, "choose one of superpose, thin, compress"),
        ({"factor": 1e-6, "method": "thin"}, "no request is left"),
    ],
)
def test_what_cannot_be_reached_is_refused(arguments, message):
    with pytest.raises(HandrailError, match=message):
        change_rate(poisson(200), **arguments)


def test_a_window_without_a_rate_has_no_load():
    trace = RequestTrace(arrival_s=np.zeros(3), prompt_tokens=np.ones(3, int), output_tokens=np.ones(3, int))
    with pytest.raises(HandrailError, match="has no rate"):
        change_load(trace, 0.8, 10.0)
