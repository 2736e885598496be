"""The generator is what its config says, and near the published facts."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

from handrail.traces import RequestTrace, TraceError, load_trace
from handrail.traces.common.parameters import parse_config
from handrail.traces.common.statistics import interarrival_cv, ks_distance
from handrail.traces.llm import generator_config
from handrail.traces.llm.describe import describe
from handrail.traces.llm.generator import API, CONVERSATION, generate, mean_turns
from handrail.traces.llm.generator_config import BurstGPTLikeConfig

DAY_S = 86_400.0


def of(trace: RequestTrace, tenant: str) -> RequestTrace:
    assert trace.tenant is not None
    return trace.select(trace.tenant == trace.tenant_names.index(tenant))


@pytest.fixture(scope="module")
def two_weeks() -> RequestTrace:
    return generate(BurstGPTLikeConfig(duration_s=14 * DAY_S, rate_per_s=0.2, api_share=0.3), seed=1)


def test_every_default_names_its_source():
    lines = inspect.getsource(BurstGPTLikeConfig).splitlines()
    source = (
        r"facts|slice|source|part [13]|public code|Willinger|Poisson|see above|likewise|shortest span|refuse|spread of"
    )
    for number, line in enumerate(lines):
        if re.match(r"    \w+: .* = ", line):
            context = " ".join(lines[max(0, number - 9) : number + 1])
            assert re.search(source, context, re.IGNORECASE), line
    assert "source" in (generator_config.__doc__ or "")


def test_seed_and_config_determine_the_trace():
    config = BurstGPTLikeConfig(duration_s=20_000, rate_per_s=0.3)
    assert generate(config, 5).content_hash == generate(config, 5).content_hash
    assert generate(config, 5).content_hash != generate(config, 6).content_hash


def test_failures_do_not_disturb_the_rest():
    config = BurstGPTLikeConfig(duration_s=20_000, rate_per_s=0.3)
    none = generate(config.model_copy(update={"api_failure_share": 0.0, "conversation_failure_share": 0.0}), 5)
    some = generate(config, 5)
    assert np.array_equal(none.arrival_s, some.arrival_s)
    assert np.array_equal(none.prompt_tokens, some.prompt_tokens)
    assert (none.output_tokens > 0).all()
    assert 0 < some.notes["failed"] == (some.output_tokens == 0).sum()


def test_daily_and_weekly_cycle_of_conversations(two_weeks: RequestTrace):
    talk = of(two_weeks, CONVERSATION)
    hour = np.bincount(((talk.arrival_s % DAY_S) // 3600).astype(int), minlength=24)
    assert hour[15:17].min() > 5 * hour[3:8].max()
    assert hour[12] < min(hour[11], hour[13], hour[14])
    day = np.bincount((talk.arrival_s // DAY_S).astype(int), minlength=14)
    weekend = day[[5, 6, 12, 13]].mean()
    assert day[[0, 1, 2, 3, 4, 7, 8, 9, 10, 11]].mean() / weekend == pytest.approx(2, abs=0.25)


def test_conversation_rate_is_the_configured_mean(two_weeks: RequestTrace):
    assert len(of(two_weeks, CONVERSATION)) / (14 * DAY_S) == pytest.approx(0.2 * 0.7, rel=0.05)


def test_start_of_the_trace_shifts_the_cycle():
    night = generate(BurstGPTLikeConfig(duration_s=3600, start_hour=4, rate_per_s=1, api_share=0), 0)
    noon = generate(BurstGPTLikeConfig(duration_s=3600, start_hour=15, rate_per_s=1, api_share=0), 0)
    assert len(noon) > 5 * len(night)


def test_sessions_are_like_those_of_part_3(two_weeks: RequestTrace):
    talk = of(two_weeks, CONVERSATION)
    assert talk.session_id is not None
    turns = np.bincount(talk.session_id)
    turns = turns[turns > 0]
    assert turns.mean() == pytest.approx(2.92, abs=0.25)
    assert np.quantile(turns, [0.5, 0.9]).tolist() == [2, 5]
    assert np.quantile(turns, 0.99) == pytest.approx(17, abs=3)
    assert (turns > 1).mean() == pytest.approx(0.56, abs=0.03)
    order = np.lexsort((talk.arrival_s, talk.session_id))
    same = np.diff(talk.session_id[order]) == 0
    assert np.median(np.diff(talk.arrival_s[order])[same]) == pytest.approx(123, rel=0.1)
    assert mean_turns(BurstGPTLikeConfig()) == pytest.approx(2.9, abs=0.2)


def test_prompts_carry_the_history():
    config = BurstGPTLikeConfig(duration_s=DAY_S, rate_per_s=0.1, api_share=0, history_cut_share=0)
    trace = generate(config.model_copy(update={"conversation_failure_share": 0.0}), 0)
    assert trace.session_id is not None
    order = np.lexsort((trace.arrival_s, trace.session_id))
    same = np.diff(trace.session_id[order]) == 0
    # A session that began before the trace is there with its later turns only, in order all the same.
    carried = (trace.prompt_tokens + trace.output_tokens)[order][:-1][same]
    assert (trace.prompt_tokens[order][1:][same] > carried).all()


def test_conversation_lengths_are_like_the_real_ones(two_weeks: RequestTrace, shared_data: Path):
    real = of(load_trace(shared_data / "traces" / "llm" / "burstgpt_3_first400.csv"), CONVERSATION)
    talk = of(two_weeks, CONVERSATION)
    answered = talk.select(talk.output_tokens > 0)
    assert ks_distance(real.prompt_tokens, answered.prompt_tokens) < 0.12
    made, true = describe(answered), describe(real)
    for quantile, tolerance in (("p50", 1.25), ("p90", 1.7), ("p99", 1.7)):
        assert 1 / tolerance < made.prompt_tokens[quantile] / true.prompt_tokens[quantile] < tolerance
    assert made.output_tokens["p50"] == pytest.approx((101 + 229) / 2, rel=0.3)  # between the two slices
    assert made.output_tokens["p99"] == pytest.approx((862 + 1421) / 2, rel=0.4)
    assert made.length_spearman is not None
    assert 0.05 < made.length_spearman < 0.35


def test_response_has_a_hump_and_rises(two_weeks: RequestTrace):
    talk = of(two_weeks, CONVERSATION)
    talk = talk.select(talk.output_tokens > 0)

    def median(low: int, high: int) -> float:
        return float(np.median(talk.output_tokens[(talk.prompt_tokens >= low) & (talk.prompt_tokens < high)]))

    assert median(20, 50) == pytest.approx(250, rel=0.2)
    assert median(100, 300) == pytest.approx(100, rel=0.15)
    assert median(1_800, 2_200) == pytest.approx(420, rel=0.15)


def test_api_is_on_and_off_without_sessions(two_weeks: RequestTrace):
    api = of(two_weeks, API)
    assert api.session_id is not None
    assert (api.session_id == -1).all()
    hourly = np.bincount((api.arrival_s // 3600).astype(int), minlength=14 * 24)
    assert (hourly == 0).mean() > 0.3
    assert hourly.max() > 5 * hourly.mean()


@pytest.mark.parametrize("cv", [0.5, 1.0, 2.0, 3.0])
def test_gamma_interarrivals_have_the_given_cv(cv: float):
    config = BurstGPTLikeConfig(
        duration_s=50_000, rate_per_s=1, api_share=1, api_clients=1, api_cv=cv, api_on_mean_s=1e7, api_off_mean_s=1e-3
    )
    trace = generate(config, 3)
    assert interarrival_cv(trace.arrival_s) == pytest.approx(cv, rel=0.05)


def test_daily_load_is_like_that_of_part_1():
    found = []
    for seed in range(8):
        trace = generate(BurstGPTLikeConfig(duration_s=60 * DAY_S, rate_per_s=0.271, api_share=0.896), seed)
        day = np.bincount((trace.arrival_s // DAY_S).astype(int), minlength=60)
        found.append((day.std() / day.mean(), np.median(day) / day.mean(), day.max() / day.mean()))
    cv, median, busiest = np.median(found, axis=0)
    assert cv == pytest.approx(1.14, abs=0.35)
    assert median == pytest.approx(0.62, abs=0.15)
    assert busiest == pytest.approx(6.4, abs=2.5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": 1}, "rate: Extra inputs"),
        ({"rate_per_s": 0}, "rate_per_s"),
        ({"rate_per_s": "fast"}, "rate_per_s"),
        ({"api_share": 1.5}, "api_share"),
        ({"hour_weights": [1] * 23}, "24 numbers"),
        ({"response_median_knots": [[10, 5], [5, 5]]}, "rising order"),
        ({"rate_per_s": 1e9}, "exceed max_requests"),
        ({"api_cv": float("nan")}, "api_cv"),
    ],
)
def test_wrong_parameters(values: dict, message: str):
    with pytest.raises(TraceError, match=message) as caught:
        parse_config(BurstGPTLikeConfig, values, "here")
    assert str(caught.value).startswith("here: ")


def test_nothing_drawn_is_an_error():
    with pytest.raises(TraceError, match="drew no request"):
        generate(BurstGPTLikeConfig(duration_s=0.001, rate_per_s=0.001), 0)
    with pytest.raises(TraceError, match="seed"):
        generate(BurstGPTLikeConfig(), -1)
