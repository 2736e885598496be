"""The Lublin-Feitelson generator: its distributions against closed forms, and against a file drawn from the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats

from handrail.traces import TraceError, load_job_trace
from handrail.traces.cluster.describe import compare_traces, describe
from handrail.traces.cluster.lublin import day_weights, gamma_cdf, generate
from handrail.traces.cluster.lublin_config import PUBLISHED, LublinConfig
from handrail.traces.common.parameters import parse_config


def test_incomplete_gamma_equals_scipys():
    x = np.linspace(0, 40, 200)
    for shape in (0.3, 1.0, 6.1271, 8.9186):
        assert gamma_cdf(x, shape) == pytest.approx(scipy.special.gammainc(shape, x), abs=1e-12)


@pytest.mark.parametrize("kind", list(PUBLISHED))
def test_sizes_are_as_published(kind: str):
    config = LublinConfig.model_validate({"kind": kind, "jobs": 40_000})
    tasks = generate(config, 0).tasks
    log2 = np.log2(tasks)
    assert (tasks == 1).mean() == pytest.approx(config.serial_share, abs=0.015)
    # Whole powers by rounding, and a few more where an unrounded number happens to be one.
    powers = ((log2 == np.round(log2)) & (tasks > 1)).mean()
    assert config.power_of_two_share - 0.015 < powers < config.power_of_two_share + 0.08
    parallel = log2[tasks > 1]
    assert (parallel < config.size_log2_medium).mean() == pytest.approx(config.size_low_share, abs=0.1)
    assert tasks.max() <= config.processors


@pytest.mark.parametrize("kind", list(PUBLISHED))
def test_run_times_are_a_mixture_of_two_gammas(kind: str):
    config = LublinConfig.model_validate({"kind": kind, "jobs": 60_000})
    trace = generate(config, 1)
    serial = np.log(trace.run_s[trace.tasks == 1])
    p = np.clip(config.run_mix_slope + config.run_mix_base, 0, 1)

    def cdf(x: np.ndarray) -> np.ndarray:
        one = scipy.stats.gamma.cdf(x, config.run_shape_1, scale=config.run_scale_1)
        two = scipy.stats.gamma.cdf(x, config.run_shape_2, scale=config.run_scale_2)
        return p * one + (1 - p) * two

    points = np.log(np.array([20.0, 100.0, 1_000.0, 10_000.0, 30_000.0, 100_000.0]))
    found = np.searchsorted(np.sort(serial), points) / len(serial)
    assert found == pytest.approx(cdf(points) / cdf(np.array([config.run_log_max])), abs=0.015)
    assert trace.run_s.max() <= np.exp(config.run_log_max)


def test_larger_jobs_run_longer():
    trace = generate(LublinConfig(jobs=30_000), 2)
    medians = [np.median(trace.run_s[(trace.tasks >= low) & (trace.tasks < 4 * low)]) for low in (1, 8, 64)]
    assert medians[0] < medians[1] < medians[2]


def test_arrivals_follow_the_day():
    config = LublinConfig(jobs=60_000, gap_shape=60.0, gap_scale=0.03, gap_all_day_factor=1.0)
    trace = generate(config, 0)
    days = int(trace.arrival_s[-1] // 86_400)
    inside = trace.arrival_s[trace.arrival_s < days * 86_400]
    counts = np.bincount((inside % 86_400 // 1_800).astype(int), minlength=48)
    assert days > 3
    assert counts / counts.mean() == pytest.approx(day_weights(config), abs=0.06)
    noon = generate(config.model_copy(update={"start_hour": 12.0}), 0)
    assert noon.arrival_s[999] < trace.arrival_s[999]  # the day is busier than the night


def test_mean_gap_is_that_of_the_truncated_gamma():
    config = LublinConfig(jobs=100_000)
    trace = generate(config, 5)
    shape = config.gap_shape * config.gap_all_day_factor
    x = np.linspace(0.01, config.gap_log_max, 20_000)
    density = scipy.stats.gamma.pdf(x, shape, scale=config.gap_scale)
    expected = scipy.integrate.trapezoid(np.exp(x) * density, x) / scipy.integrate.trapezoid(density, x)
    assert trace.duration_s / len(trace) == pytest.approx(expected, rel=0.06)


def test_one_stream_leaves_the_others_as_they_were():
    one = generate(LublinConfig(jobs=500), 4)
    other = generate(LublinConfig(jobs=500, run_shape_1=3.0), 4)
    assert np.array_equal(one.arrival_s, other.arrival_s)
    assert np.array_equal(one.tasks, other.tasks)
    assert not np.array_equal(one.run_s, other.run_s)
    assert one.content_hash == generate(LublinConfig(jobs=500), 4).content_hash
    assert one.content_hash != generate(LublinConfig(jobs=500), 5).content_hash
    assert one.processors == 256


def test_a_file_drawn_from_the_model_is_like_what_is_drawn_here(shared_data: Path):
    file = load_job_trace(shared_data / "traces" / "cluster" / "lublin_1_256procs.swf")
    drawn = generate(LublinConfig(kind="all"), 0)
    distances = compare_traces(file, drawn)
    assert distances["run_s"].ks < 0.03
    assert distances["size"].ks < 0.03
    assert distances["area_s"].ks < 0.03
    assert distances["interarrival_s"].ks < 0.03
    loads = [describe(trace).offered_load or 0.0 for trace in (file, drawn)]
    assert loads[1] == pytest.approx(loads[0], rel=0.3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"procs": 1}, "procs: Extra inputs"),
        ({"kind": "vector"}, "kind"),
        ({"jobs": 0}, "jobs"),
        ({"serial_share": 0.9}, "more than 1 together"),
        ({"processors": 4}, "bounds of size_log2"),
        ({"processors": 2}, "processors"),
    ],
)
def test_wrong_parameters(values: dict, message: str):
    with pytest.raises(TraceError, match=message):
        parse_config(LublinConfig, values, "here")
    with pytest.raises(TraceError, match="seed"):
        generate(LublinConfig(), -1)
