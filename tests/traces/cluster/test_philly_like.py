"""The Philly-like generator is what its config says, near the Philly jobs, and its calibration finds what it drew."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from handrail.traces import JobTrace, TraceError, load_job_trace
from handrail.traces.cluster.calibrate import calibrate, lognormal_mixture
from handrail.traces.cluster.describe import compare_traces, describe
from handrail.traces.cluster.philly_like import generate
from handrail.traces.cluster.philly_like_config import PROFILE_PATH, PhillyLikeConfig, RunTimes, Tenant, WorkKind
from handrail.traces.common.parameters import parse_config

DAY_S = 86_400.0
SKIPPED_S = 20 * DAY_S
CLOCK_S = 10 * 3_600 + 30 * 60 + 41.0  # the Philly jobs begin on a Monday at 10:30:41


@pytest.fixture(scope="module")
def eight_weeks() -> JobTrace:
    return generate(PhillyLikeConfig(duration_s=56 * DAY_S), 0)


@pytest.fixture(scope="module")
def philly(shared_data: Path) -> JobTrace:
    return load_job_trace(shared_data / "traces" / "cluster" / "philly_until_2017-11-20.csv.gz")


def kind(**changes: object) -> WorkKind:
    values: dict[str, object] = {
        "campaigns_per_day": 48.0,
        "arrival_cv": 1.0,
        "follows_cycle": False,
        "max_jobs": 1,
        "jobs_log_mean": 0.0,
        "jobs_log_sigma": 0.0,
        "gap_median_s": 5.0,
        "gap_log_sigma": 0.5,
        "gpus": [(1, 1.0)],
        "runs": [RunTimes(share=1.0, median_s=100.0, log_sigma=1.0)],
        "jitter_log_sigma": 0.0,
    }
    return WorkKind.model_validate({**values, **changes})


def only(*kinds: WorkKind, **changes: object) -> PhillyLikeConfig:
    return PhillyLikeConfig.model_validate({"tenants": [Tenant(name="t", kinds=kinds)], **changes})


def test_profile_is_the_calibration_of_the_philly_jobs(philly: JobTrace):
    assert calibrate(philly, skip_s=SKIPPED_S, clock_s=CLOCK_S) == json.loads(PROFILE_PATH.read_text())


def test_drawn_is_like_philly(philly: JobTrace, eight_weeks: JobTrace):
    main = philly.window(SKIPPED_S, np.inf)
    distances = compare_traces(main, eight_weeks)
    assert distances["run_s"].ks < 0.13
    assert distances["size"].ks < 0.03
    assert distances["interarrival_s"].ks < 0.15
    for tail in ("p90", "p95", "p99", "p999"):
        ratio = distances["run_s"].tail_ratio[tail]
        assert ratio is not None
        assert 0.5 < ratio < 2
    found, true = describe(eight_weeks), describe(main)
    assert found.jobs == pytest.approx(true.jobs, rel=0.3)
    assert found.mean_size_in_use == pytest.approx(true.mean_size_in_use, rel=0.35)
    assert found.top_percent_area == pytest.approx(true.top_percent_area, abs=0.12)
    assert found.run_like_previous is not None
    assert found.run_like_previous > 0.5
    for size in ("1", "3-4", "5-8"):
        assert found.sizes[size].jobs == pytest.approx(true.sizes[size].jobs, rel=0.35)
        assert found.sizes[size].area == pytest.approx(true.sizes[size].area, abs=0.15)


def test_tenants_are_unequal_and_have_gangs_of_their_own(eight_weeks: JobTrace):
    tenants = describe(eight_weeks).tenants
    shares = sorted((share.jobs for share in tenants.values()), reverse=True)
    assert len(shares) == 11
    assert shares[0] > 0.35
    assert shares[0] > 20 * shares[6]
    assert eight_weeks.tenant is not None
    mean_size = [eight_weeks.size[eight_weeks.tenant == code].mean() for code in range(11)]
    assert max(mean_size) > 4 * min(mean_size)


def test_larger_gangs_run_longer(eight_weeks: JobTrace):
    medians = [np.median(eight_weeks.run_s[eight_weeks.size == size]) for size in (1, 4, 8)]
    assert medians[0] * 3 < min(medians[1:])


def test_times_are_whole_seconds_within_bounds():
    trace = generate(PhillyLikeConfig(duration_s=5 * DAY_S, shortest_run_s=30, longest_run_s=5_000), 1)
    assert (trace.arrival_s == np.floor(trace.arrival_s)).all()
    assert (trace.run_s == np.floor(trace.run_s)).all()
    assert trace.run_s.min() == 30
    assert trace.run_s.max() == 5_000
    assert trace.arrival_s.max() < 5 * DAY_S
    assert not trace.cpu_milli.any()
    assert not trace.memory_mib.any()


def test_seed_and_config_determine_the_trace():
    config = PhillyLikeConfig(duration_s=DAY_S)
    assert generate(config, 5).content_hash == generate(config, 5).content_hash
    assert generate(config, 5).content_hash != generate(config, 6).content_hash


def test_run_times_do_not_disturb_arrivals():
    one = generate(only(kind(), duration_s=DAY_S), 0)
    other = generate(only(kind(runs=[{"share": 1, "median_s": 9, "log_sigma": 2}]), duration_s=DAY_S), 0)
    assert np.array_equal(one.arrival_s, other.arrival_s)
    assert not np.array_equal(one.run_s, other.run_s)


@pytest.mark.parametrize("follows_cycle", [False, True])
def test_rate_is_the_configured_mean(follows_cycle: bool):
    work = kind(campaigns_per_day=200.0, follows_cycle=follows_cycle)
    trace = generate(only(work, duration_s=28 * DAY_S, rate_factor=2.0), 3)
    assert len(trace) == pytest.approx(28 * 400, rel=0.05)


def test_cycle_of_hours_and_days():
    hours = [0.0] * 8 + [1.0] * 8 + [0.0] * 8
    config = only(
        kind(campaigns_per_day=500.0, follows_cycle=True),
        duration_s=28 * DAY_S,
        hour_weights=hours,
        weekday_weights=[1, 1, 1, 1, 1, 0, 0],
        start_weekday=2,
        start_hour=6,
    )
    clock_s = generate(config, 0).arrival_s + (2 * 24 + 6) * 3_600
    hour, day = clock_s // 3_600 % 24, clock_s // DAY_S % 7
    assert ((hour >= 8) & (hour < 16)).all()
    assert (day < 5).all()
    counts = np.bincount(day.astype(int), minlength=7)[:5]
    assert counts.min() > 0.85 * counts.max()


@pytest.mark.parametrize("cv", [0.3, 1.0, 3.0])
def test_campaigns_arrive_with_the_given_cv(cv: float):
    trace = generate(only(kind(arrival_cv=cv, campaigns_per_day=100.0), duration_s=200 * DAY_S), 1)
    gaps_s = np.diff(trace.arrival_s)
    assert gaps_s.std() / gaps_s.mean() == pytest.approx(cv, rel=0.07)


def test_campaigns_have_one_size_and_run_alike():
    work = kind(max_jobs=50, min_jobs=11, jobs_log_mean=2.0, jobs_log_sigma=0.7, jitter_log_sigma=0.1)
    work = work.model_copy(update={"gpus": ((1, 0.5), (8, 0.5)), "campaigns_per_day": 2.0, "arrival_cv": 0.2})
    trace = generate(only(work, duration_s=400 * DAY_S), 0)
    campaigns = np.split(np.arange(len(trace)), np.flatnonzero(np.diff(trace.arrival_s) > 3_600) + 1)[1:-1]
    jobs = np.array([len(rows) for rows in campaigns])
    assert jobs.mean() == pytest.approx(work.mean_jobs, rel=0.05)
    assert jobs.min() >= 11
    assert np.mean([len(set(trace.size[rows].tolist())) == 1 for rows in campaigns]) > 0.97
    spread = np.median([np.log(trace.run_s[rows]).std() for rows in campaigns])
    assert spread == pytest.approx(0.1, abs=0.03)


def test_repeats_keep_the_distribution_and_correlate():
    alone = generate(only(kind(), duration_s=400 * DAY_S), 0)
    often = generate(only(kind(repeat_share=0.6), duration_s=400 * DAY_S), 0)
    assert describe(alone).run_like_previous == pytest.approx(0.0, abs=0.04)
    assert describe(often).run_like_previous == pytest.approx(0.6, abs=0.04)
    assert compare_traces(alone, often)["run_s"].ks < 0.03


def test_calibration_finds_what_was_drawn():
    sweeps = kind(
        campaigns_per_day=3.0, min_jobs=11, max_jobs=200, jobs_log_mean=3.0, jobs_log_sigma=0.5, jitter_log_sigma=0.2
    )
    config = only(kind(gpus=[(8, 1.0)], repeat_share=0.3), sweeps, duration_s=200 * DAY_S, longest_run_s=1e9)
    (tenant,) = calibrate(generate(config, 1))["tenants"]
    by_size = {found["gpus"][0][0]: found for found in tenant["kinds"] if found["campaigns_per_day"] > 1}
    gangs, swept = by_size[8], by_size[1]
    # Two campaigns within five minutes look like one: a few are lost.
    assert gangs["campaigns_per_day"] == pytest.approx(48, rel=0.2)
    assert swept["campaigns_per_day"] == pytest.approx(3, rel=0.1)
    assert swept["jobs_log_mean"] == pytest.approx(3.0, abs=0.1)
    assert swept["jitter_log_sigma"] == pytest.approx(0.2, abs=0.05)
    assert swept["gap_median_s"] == pytest.approx(5.0, rel=0.15)
    assert gangs["repeat_share"] == pytest.approx(0.3, abs=0.06)
    assert min(swept["min_jobs"], 11) == 11


def test_calibration_needs_tenants():
    trace = generate(only(kind(), duration_s=DAY_S), 0)
    for lacking in (trace, trace.superpose(9, 0).replace(tenant=None, tenant_names=())):
        with pytest.raises(TraceError, match="calibration needs tenants"):
            calibrate(lacking)


def test_mixture_of_two_is_taken_apart():
    rng = np.random.default_rng(0)
    logs = np.concatenate((rng.normal(2, 0.3, 300), rng.normal(8, 1.0, 700)))
    found = sorted(lognormal_mixture(logs, np.ones(1_000)), key=lambda part: part[1])
    assert sum(share for share, _, _ in found) == pytest.approx(1)
    assert found[0][:2] == pytest.approx((0.3, 2.0), abs=0.05)
    assert sum(share * mean for share, mean, _ in found) == pytest.approx(logs.mean(), abs=1e-6)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"speed": 1}, "speed: Extra inputs"),
        ({"duration_s": 0}, "duration_s"),
        ({"hour_weights": [1] * 23}, "24 numbers"),
        ({"weekday_weights": [0] * 7}, "7 numbers"),
        ({"tenants": []}, "tenants"),
        ({"tenants": [{"name": "a", "kinds": [kind().model_dump() | {"max_jobs": 0}]}]}, "max_jobs"),
        ({"tenants": [{"name": "a", "kinds": [kind()]}, {"name": "a", "kinds": [kind()]}]}, "names of their own"),
        ({"longest_run_s": 0.5}, "longest_run_s is below"),
        ({"rate_factor": 1e9}, "exceed max_jobs"),
    ],
)
def test_wrong_parameters(values: dict, message: str):
    with pytest.raises(TraceError, match=message):
        parse_config(PhillyLikeConfig, values, "here")


def test_nothing_drawn_is_an_error():
    with pytest.raises(TraceError, match="drew no job"):
        generate(PhillyLikeConfig(duration_s=1, rate_factor=0.001), 0)
    with pytest.raises(TraceError, match="seed"):
        generate(PhillyLikeConfig(), -1)
