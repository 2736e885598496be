"""Coarse stamps are spread, failed requests dropped, kept or retried."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trace_samples import BURSTGPT_1, BURSTGPT_3, MOONCAKE

from handrail.traces import TraceError, load_trace
from handrail.traces.common.spread import batch_width_s, spread_ties
from handrail.traces.llm.failures import RETRY_AFTER_HIGH_S, RETRY_AFTER_LOW_S


@given(st.lists(st.integers(0, 20), min_size=1, max_size=60), st.integers(0, 9))
def test_spreading_stays_within_the_second_and_in_order(stamps: list[int], seed: int):
    stamp_s = np.sort(np.array(stamps, np.float64))
    spread = spread_ties(stamp_s, 1.0, np.random.default_rng(seed))
    assert (np.floor(spread) == stamp_s).all()
    assert (np.diff(spread) >= 0).all()


def test_spreading_keeps_draws_that_hardly_differ_in_order():
    near = 1 - np.arange(1, 5)[::-1] * 2.0**-53  # these differ by less than a sum with a large stamp can show

    class Draws:
        def random(self, n: int) -> np.ndarray:
            return np.tile(near[::-1], n // 4)

    stamp_s = np.repeat(np.arange(50_000.0), 4)
    spread = spread_ties(stamp_s, 2.0**-20, Draws())  # pyright: ignore[reportArgumentType]
    assert (spread == stamp_s + np.tile(near, 50_000) * 2.0**-20).all()


def test_spreading_is_uniform():
    spread = spread_ties(np.repeat(np.arange(2_000.0), 10), 1.0, np.random.default_rng(1))
    counts = np.histogram(spread % 1.0, 10, (0, 1))[0]
    assert counts.min() > 1_800
    assert counts.max() < 2_200


def test_spreading_is_seeded(tmp_path: Path):
    path = tmp_path / "given"
    path.write_text(BURSTGPT_1)
    assert load_trace(path).content_hash == load_trace(path, spread_seed=0).content_hash
    assert load_trace(path, spread_seed=1).content_hash != load_trace(path).content_hash
    assert load_trace(path).notes["spread_s"] == 1.0


def test_stamps_with_fractions_are_not_spread(tmp_path: Path):
    path = tmp_path / "given"
    path.write_text(BURSTGPT_1.replace("118,", "118.25,"))
    trace = load_trace(path, failures="keep")
    assert trace.arrival_s.tolist() == [0.0, 0.0, 113.25, 180.0]
    assert "spread_s" not in trace.notes


def test_batched_stamps_are_recognised():
    rng = np.random.default_rng(0)
    batches = 3.0 * np.arange(100) + rng.choice([-0.001, 0.0, 0.001], 100)
    assert batch_width_s(np.repeat(batches, 3), 9.0) == pytest.approx(3.0, abs=0.002)
    assert batch_width_s(np.delete(batches, [5, 6, 30]), 9.0) == pytest.approx(3.0, abs=0.002)
    assert batch_width_s(np.sort(rng.uniform(0, 300, 100)), 9.0) == 0.0
    assert batch_width_s(np.arange(0, 10, 0.5), 9.0) == 0.0
    assert batch_width_s(np.zeros(4), 9.0) == 9.0


def test_mooncake_stamps_in_milliseconds_stay(tmp_path: Path):
    path = tmp_path / "given"
    path.write_text(MOONCAKE.replace("2999", "17").replace("6000", "90"))
    assert load_trace(path).arrival_s.tolist() == [0.0, 0.0, 0.017, 0.09]


def test_batches_do_not_overtake_each_other(tmp_path: Path):
    path = tmp_path / "given"
    path.write_text(MOONCAKE)
    for seed in range(20):
        arrival_s = load_trace(path, spread_seed=seed).arrival_s
        assert 0 <= arrival_s[0] <= arrival_s[1] < 2.999 <= arrival_s[2] < 6.0 <= arrival_s[3]


def test_failed_requests_kept(tmp_path: Path):
    path = tmp_path / "given"
    path.write_text(BURSTGPT_1)
    trace = load_trace(path, failures="keep")
    assert trace.output_tokens.tolist() == [18, 230, 0, 647]
    assert trace.prompt_tokens.tolist() == [472, 1087, 1, 1360]
    assert (trace.notes["failed"], trace.notes["failures"]) == (1, "keep")


def test_failed_requests_come_again_later(tmp_path: Path):
    path = tmp_path / "given"
    path.write_text(BURSTGPT_3)
    kept = load_trace(path, failures="keep", spread_seed=3)
    trace = load_trace(path, failures="retry", spread_seed=3)
    assert len(trace) == 4
    delay_s = trace.arrival_s[3] - kept.arrival_s[3]
    assert RETRY_AFTER_LOW_S <= delay_s <= RETRY_AFTER_HIGH_S
    assert trace.prompt_tokens[3] == 1631
    assert trace.output_tokens[3] in (446, 29, 123)
    assert trace.session_id is not None
    assert trace.session_id[3] == 0
    assert trace.arrival_s[:3].tolist() == kept.arrival_s[:3].tolist()
    assert trace.content_hash == load_trace(path, failures="retry", spread_seed=3).content_hash


def test_retry_draws_both_lengths_where_the_prompt_is_lost(tmp_path: Path):
    path = tmp_path / "given"
    path.write_text(BURSTGPT_1)
    pairs = set()
    for seed in range(30):
        trace = load_trace(path, failures="retry", spread_seed=seed)
        pairs.add((int(trace.prompt_tokens[2]), int(trace.output_tokens[2])))
    assert pairs == {(472, 18), (1087, 230), (1360, 647)}


def test_retried_responses_are_like_those_to_prompts_as_long(shared_data: Path, tmp_path: Path):
    real = (shared_data / "traces" / "llm" / "azure_2023_conv_first35min.csv").read_text().splitlines()
    rows = [line.rsplit(",", 1) for line in real[1:]]
    failed = [i for i, (head, _) in enumerate(rows) if i % 2 and int(head.rsplit(",", 1)[1]) > 2_500]
    for i in failed:
        rows[i][1] = "0"
    path = tmp_path / "given"
    path.write_text("\n".join([real[0], *map(",".join, rows)]))
    truth = load_trace(shared_data / "traces" / "llm" / "azure_2023_conv_first35min.csv")
    retried = load_trace(path, failures="retry")
    assert retried.notes["failed"] == len(failed)
    was = np.median(truth.output_tokens[truth.prompt_tokens > 2_500])
    now = np.median(retried.output_tokens[retried.prompt_tokens > 2_500])
    assert now == pytest.approx(was, rel=0.1)


def test_successful_requests_with_a_lost_prompt_are_counted(tmp_path: Path):
    path = tmp_path / "given"
    path.write_text(BURSTGPT_1.replace("1360", "0"))
    trace = load_trace(path)
    assert trace.prompt_tokens.tolist() == [472, 1087, 1]
    assert trace.notes["prompts_raised_to_1"] == 1


def test_every_request_failed(tmp_path: Path):
    path = tmp_path / "given"
    path.write_text("arrival_s,prompt_tokens,output_tokens\n1,2,0\n2,3,0\n")
    for failures in ("drop", "retry"):
        with pytest.raises(TraceError, match="every request failed"):
            load_trace(path, failures=failures)
    assert len(load_trace(path, failures="keep")) == 2
