"""Parameters of the BurstGPT-like generator, each default with its source.

"Facts" are the whole-file statistics that the BurstGPT authors and two independent audits publish; "slice 1" and "slice
3" are the first 400 rows of BurstGPT part 1 and part 3.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]

# Facts: humps at 10-11 h and 15-17 h, a dip at 12 h, near zero at 3-8 h; the heights between are interpolated by eye.
_HOUR_WEIGHTS = (
    *(0.30, 0.18, 0.10, 0.04, 0.03, 0.03, 0.04, 0.08, 0.20, 1.10, 1.90, 1.90),
    *(1.20, 1.50, 1.80, 2.10, 2.10, 1.90, 1.30, 1.20, 1.20, 1.10, 0.90, 0.60),
)


class BurstGPTLikeConfig(BaseModel):
    """What the generator draws from; rates are long-run means, so a busy hour has more and a night less.

    Two kinds of traffic, generated apart and merged: conversations (people: a daily and weekly cycle, sessions of
    several turns with think time, prompts that grow with the history) and API clients (programs: on and off, in bursts
    of like requests).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    # When
    duration_s: Positive = 86_400.0  # one day: the shortest span with the whole daily cycle
    start_hour: Annotated[float, Field(ge=0, lt=24)] = 0.0  # facts: stamps count from 0:00
    start_weekday: Annotated[int, Field(ge=0, le=6)] = 0  # 0 is Monday; no source, the first day is not published

    # How much
    rate_per_s: Positive = 0.562  # facts, part 3: mean requests/s
    api_share: Share = 0.953  # facts, part 3: 4,724,297 API of 4,956,058 successful requests

    # Conversations: arrival
    hour_weights: tuple[NotNegative, ...] = _HOUR_WEIGHTS  # relative intensity of each hour of the day, see above
    weekend_factor: NotNegative = 0.5  # facts: weekdays about twice weekends
    session_start_cv: Positive = 1.0  # no source: users who do not know of each other start as a Poisson process
    # Turns a session: ceil of a lognormal. Facts, slice 3: 56 % multi-turn and p90 5 give mu and sigma; mean 2.92 and
    # p50/p99 2/17 then come out as 2.9, 2 and 17.
    turns_log_mean: float = 0.170
    turns_log_sigma: NotNegative = 1.123
    max_turns: Annotated[int, Field(ge=1, le=10_000)] = (
        50  # slice 3 has 24 among 135 sessions; part 3 has 80,000 of them
    )
    # Seconds between turns: lognormal. Slice 3: p50 123; ln(p90 / p50) / 1.2816 = ln(1393 / 123) / 1.2816.
    turn_gap_median_s: Positive = 123.0
    turn_gap_log_sigma: NotNegative = 1.89

    # Conversations: lengths
    # First prompt of a session: two lognormals, plain questions and pasted texts; fitted to slice 3, quantiles
    # 0.1/0.25/0.5/0.75/0.9/0.95/0.99 of 17/24/49/116/458/852/1702.
    question_median_tokens: Positive = 36.0
    question_log_sigma: NotNegative = 0.60
    pasted_share: Share = 0.36
    pasted_median_tokens: Positive = 210.0
    pasted_log_sigma: NotNegative = 1.20
    # Later prompts carry prompt and response of the turn before plus a new question. Slice 3: 28 % of later prompts are
    # shorter than that, their history was cut; how much is taken as uniform.
    history_cut_share: Share = 0.28
    # Median response over request tokens (knots, linear between). Facts: hump of about 250 at 20-50, 100 at 100-300,
    # 420 at 2,000; below 20 and above 2,000: slice 3.
    response_median_knots: tuple[tuple[NotNegative, Positive], ...] = (
        (0, 30),
        (20, 200),
        (35, 250),
        (50, 170),
        (100, 100),
        (300, 100),
        (2_000, 420),
        (4_000, 500),
    )
    # Facts, slices: ln(p99 / p50) / 2.3263 = 0.78 and 0.92, of which the medians above are a part.
    response_log_sigma: NotNegative = 0.80

    # API clients: arrival. Clients, mean periods and burst spread are fitted to the daily load of part 1. Facts: CV
    # 1.14, median 0.62, busiest day 6.4 and quietest 0.07 of the mean; here, median of
    # twelve seeds: 1.12, 0.58, 6.4 and 0.07.
    api_clients: Annotated[int, Field(ge=1, le=10_000)] = 3
    # Lengths of on and off periods are Pareto; shape: Willinger et al., "Self-similarity through high-variability",
    # IEEE/ACM Trans. Networking 5(1), 1997 (1.2-1.7 for on/off sources).
    period_pareto_shape: Annotated[float, Field(gt=1, allow_inf_nan=False)] = 1.5
    api_on_mean_s: Positive = 14_400.0
    api_off_mean_s: Positive = 144_000.0
    api_burst_log_sigma: NotNegative = 1.2  # spread of the rate from one on period to the next
    api_cv: Positive = 2.0  # the authors' public code: Gamma inter-arrivals of shape 0.25

    # API clients: lengths. Slice 3: the API rows come in runs of nearly one length (264-283, 10-11), so an on period
    # draws a template and its requests vary little around it.
    api_prompt_median_tokens: Positive = 311.0  # facts: input p50 of both slices 314 and 308
    api_prompt_log_sigma: NotNegative = 1.10  # facts: ln(p90 / p50) / 1.2816 is 1.18 and 1.02
    api_prompt_jitter_log_sigma: NotNegative = 0.05  # the two runs of slice 3: 4 % and 5 %
    api_response_median_tokens: Positive = 101.0  # facts, slice 3: output p50
    # Facts, slice 3: ln(p90 / p50) / 1.2816 = 1.11 in all; shared out between templates and single requests by the two
    # runs of slice 3 (171, 245, 298 and 51, 77, 112 tokens: 0.3-0.4).
    api_response_log_sigma: NotNegative = 1.04
    api_response_jitter_log_sigma: NotNegative = 0.35
    # How a template's median response grows with its prompt: (prompt / median) ** this. Slices: Spearman 0.11-0.28.
    api_response_prompt_exponent: Annotated[float, Field(ge=-2, le=2)] = 0.25

    # Both
    max_prompt_tokens: Annotated[int, Field(ge=1, le=10**9)] = 125_591  # facts, part 3: largest request
    max_response_tokens: Annotated[int, Field(ge=1, le=10**9)] = 5_383  # facts, part 3: largest response
    gpt4_share: Share = 0.152  # facts, part 3: 754,536 of 4,956,058, drawn once a session or on period
    conversation_failure_share: Share = 0.0079  # facts, part 3
    api_failure_share: Share = 0.0756  # facts, part 3
    max_requests: Annotated[int, Field(ge=1)] = 20_000_000  # refuse a slip of the pen before it fills the memory

    @model_validator(mode="after")
    def _consistent(self) -> BurstGPTLikeConfig:
        if len(self.hour_weights) != 24 or not sum(self.hour_weights) > 0:
            raise ValueError("hour_weights needs 24 numbers, not all 0")
        knots = [x for x, _ in self.response_median_knots]
        if len(knots) < 1 or sorted(set(knots)) != knots:
            raise ValueError("response_median_knots needs at least one knot, in rising order of request tokens")
        if self.rate_per_s * self.duration_s > self.max_requests:
            raise ValueError(f"about {self.rate_per_s * self.duration_s:,.0f} requests exceed max_requests")
        return self
