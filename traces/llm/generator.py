"""A BurstGPT-like request trace, drawn from a config and a seed (Wang et al., arXiv:2401.17644).

Every stream of randomness has a seed of its own, so that a change to, say, failures leaves the arrivals as they were.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..common.cycle import expected_arrivals
from ..common.renewals import renewals
from ..errors import TraceError
from .generator_config import BurstGPTLikeConfig
from .request_trace import RequestTrace

CONVERSATION, API = "Conversation log", "API log"
MODELS = ("ChatGPT", "GPT-4")
_HOUR_S = 3600.0
# Conversations and bursts that began before the trace does are part of it: generation starts this much earlier.
_LEAD_HOURS = 12
_STREAMS = ("sessions", "turns", "prompts", "responses", "periods", "requests", "templates", "models", "failures")

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class _Requests:
    """Columns of one kind of traffic, in any order."""

    arrival_s: Floats
    prompt_tokens: Ints
    output_tokens: Ints
    session_id: Ints
    model: Ints


def generate(config: BurstGPTLikeConfig, seed: int, name: str = "burstgpt-like") -> RequestTrace:
    """Draw a trace; arrival times are rounded to microseconds. Failed requests have 0 response tokens.

    Raises:
        TraceError: ``seed`` is negative, or nothing at all was drawn (too short, too low a rate).
    """
    if seed < 0:
        raise TraceError(f"seed must be 0 or more, got {seed}")
    spawned = np.random.SeedSequence(seed).spawn(len(_STREAMS))
    rng = {stream: np.random.default_rng(s) for stream, s in zip(_STREAMS, spawned, strict=True)}
    parts = (_conversations(config, rng), _api_calls(config, rng))
    failure_shares = (config.conversation_failure_share, config.api_failure_share)

    arrival_s = np.concatenate([part.arrival_s for part in parts])
    inside = (arrival_s >= 0) & (arrival_s < config.duration_s)
    order = np.flatnonzero(inside)[np.argsort(arrival_s[inside], kind="stable")]
    if len(order) == 0:
        raise TraceError("the generator drew no request; raise rate_per_s or duration_s")
    tenant = np.repeat([0, 1], [len(part.arrival_s) for part in parts])[order]
    output_tokens = np.concatenate([part.output_tokens for part in parts])[order]
    failed = rng["failures"].random(len(order)) < np.array(failure_shares)[tenant]
    session_id = _renumbered(np.concatenate([part.session_id for part in parts])[order])
    return RequestTrace(
        arrival_s=np.round(arrival_s[order], 6),
        prompt_tokens=np.concatenate([part.prompt_tokens for part in parts])[order],
        output_tokens=np.where(failed, 0, output_tokens),
        session_id=session_id,
        tenant=tenant,
        tenant_names=(CONVERSATION, API),
        model=np.concatenate([part.model for part in parts])[order],
        model_names=MODELS,
        name=name,
        notes={"format": "generated", "rows": len(order), "failed": int(failed.sum()), "failures": "keep"},
    )


def mean_turns(config: BurstGPTLikeConfig) -> float:
    """Expected turns a session: the ceil of a lognormal, at most ``max_turns``."""
    if config.turns_log_sigma == 0:
        return float(min(max(math.ceil(math.exp(config.turns_log_mean)), 1), config.max_turns))
    scale = config.turns_log_sigma * math.sqrt(2)
    exceeds = [0.5 * math.erfc((math.log(k) - config.turns_log_mean) / scale) for k in range(1, config.max_turns)]
    return 1.0 + sum(exceeds)


def _conversations(config: BurstGPTLikeConfig, rng: dict[str, np.random.Generator]) -> _Requests:
    start_s = _session_starts(config, rng["sessions"])
    count = len(start_s)
    draws = rng["turns"].lognormal(config.turns_log_mean, config.turns_log_sigma, count)
    turns = np.clip(np.ceil(draws), 1, config.max_turns).astype(np.int64)
    session = np.repeat(np.arange(count), turns)
    first = np.cumsum(turns) - turns
    gap_s = rng["turns"].lognormal(math.log(config.turn_gap_median_s), config.turn_gap_log_sigma, len(session))
    gap_s[first] = 0.0
    since_s = np.cumsum(gap_s)
    arrival_s = start_s[session] + since_s - since_s[first][session]
    model = (rng["models"].random(count) < config.gpt4_share).astype(np.int64)[session]
    prompt_tokens, output_tokens = _conversation_lengths(config, rng, turns, first, len(session))
    return _Requests(arrival_s, prompt_tokens, output_tokens, session, model)


def _session_starts(config: BurstGPTLikeConfig, rng: np.random.Generator) -> Floats:
    """Session starts in order: a Gamma renewal process of mean 1, its time warped by the daily and weekly cycle."""
    week = np.concatenate([np.array(config.hour_weights) * (config.weekend_factor if d > 4 else 1.0) for d in range(7)])
    if week.sum() == 0:
        return np.zeros(0)
    per_hour = config.rate_per_s * (1 - config.api_share) / mean_turns(config) * _HOUR_S * week / week.mean()
    origin_h = config.start_weekday * 24 + config.start_hour
    # Hours of the clock that the trace touches, counted from Monday 0:00; the lead may reach into the week before.
    last_h = math.ceil(origin_h + config.duration_s / _HOUR_S)
    hours, expected = expected_arrivals(per_hour, math.floor(origin_h) - _LEAD_HOURS, last_h)
    operational = renewals(expected[-1], 1.0, config.session_start_cv, rng)
    return (np.interp(operational, expected, hours) - origin_h) * _HOUR_S


def _conversation_lengths(
    config: BurstGPTLikeConfig, rng: dict[str, np.random.Generator], turns: Ints, first: Ints, n: int
) -> tuple[Ints, Ints]:
    """Prompt and response of every turn; prompts carry the history, so turns are drawn one round after the other."""
    pasted = rng["prompts"].random(n) < config.pasted_share
    new = np.where(
        pasted,
        rng["prompts"].lognormal(math.log(config.pasted_median_tokens), config.pasted_log_sigma, n),
        rng["prompts"].lognormal(math.log(config.question_median_tokens), config.question_log_sigma, n),
    )
    # Later turns add a short question; only a first prompt may be a pasted text (slice 3: growth p50 24, p90 116).
    later = rng["prompts"].lognormal(math.log(config.question_median_tokens), config.question_log_sigma, n)
    kept = np.where(rng["prompts"].random(n) < config.history_cut_share, rng["prompts"].random(n), 1.0)
    noise = rng["responses"].lognormal(0.0, config.response_log_sigma, n)
    knots = np.array(config.response_median_knots)
    prompt, output = np.zeros(n, np.int64), np.zeros(n, np.int64)
    history = np.zeros(len(turns))
    for turn in range(int(turns.max(initial=0))):
        alive = np.flatnonzero(turns > turn)
        rows = first[alive] + turn
        wanted = new[rows] if turn == 0 else later[rows] + kept[rows] * history[alive]
        prompt[rows] = _tokens(wanted, config.max_prompt_tokens)
        output[rows] = _tokens(
            np.interp(prompt[rows], knots[:, 0], knots[:, 1]) * noise[rows], config.max_response_tokens
        )
        history[alive] = prompt[rows] + output[rows]
    return prompt, output


def _api_calls(config: BurstGPTLikeConfig, rng: dict[str, np.random.Generator]) -> _Requests:
    share_on = config.api_on_mean_s / (config.api_on_mean_s + config.api_off_mean_s)
    rate_on = config.rate_per_s * config.api_share / (config.api_clients * share_on)
    columns: list[tuple[Floats, Ints, Ints, Ints]] = []
    for _ in range(config.api_clients):
        for begin_s, end_s in _on_periods(config, rng["periods"]):
            sigma = config.api_burst_log_sigma
            rate = rate_on * rng["periods"].lognormal(-sigma * sigma / 2, sigma)
            prompt_template = rng["templates"].lognormal(
                math.log(config.api_prompt_median_tokens), config.api_prompt_log_sigma
            )
            growth = (prompt_template / config.api_prompt_median_tokens) ** config.api_response_prompt_exponent
            response_template = growth * rng["templates"].lognormal(
                math.log(config.api_response_median_tokens), config.api_response_log_sigma
            )
            model = int(rng["models"].random() < config.gpt4_share)
            if rate <= 0:
                continue
            at_s = begin_s + renewals(end_s - begin_s, rate, config.api_cv, rng["requests"])
            n = len(at_s)
            prompt = prompt_template * rng["prompts"].lognormal(0.0, config.api_prompt_jitter_log_sigma, n)
            output = response_template * rng["responses"].lognormal(0.0, config.api_response_jitter_log_sigma, n)
            columns.append(
                (
                    at_s,
                    _tokens(prompt, config.max_prompt_tokens),
                    _tokens(output, config.max_response_tokens),
                    np.full(n, model, np.int64),
                )
            )
    if not columns:
        empty = np.zeros(0, np.int64)
        return _Requests(np.zeros(0), empty, empty, empty, empty)
    arrival_s, prompt_tokens, output_tokens, model = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    return _Requests(arrival_s, prompt_tokens, output_tokens, np.full(len(arrival_s), -1, np.int64), model)


def _on_periods(config: BurstGPTLikeConfig, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Begin and end, in seconds, of the on periods of one client that touch the trace; cut at its edges."""
    shape = config.period_pareto_shape
    means_s = (config.api_on_mean_s, config.api_off_mean_s)
    cycle_s = sum(means_s)
    # Ten cycles ahead of the trace (and a random part of one) wash out where the client started.
    now_s = -(10 + rng.random()) * cycle_s
    periods = []
    while now_s < config.duration_s:
        on_s, off_s = (mean_s * (shape - 1) / shape * (1 + rng.pareto(shape)) for mean_s in means_s)
        begin_s, end_s = max(now_s, 0.0), min(now_s + on_s, config.duration_s)
        if begin_s < end_s:
            periods.append((begin_s, end_s))
        now_s += on_s + off_s
    return periods


def _tokens(values: Floats, largest: int) -> Ints:
    return np.clip(np.rint(values), 1, largest).astype(np.int64)


def _renumbered(session_id: Ints) -> Ints:
    """Session numbers in order of their first request; -1 stays."""
    values, first, inverse = np.unique(session_id, return_index=True, return_inverse=True)
    rank = np.full(len(values), -1, np.int64)
    real = np.flatnonzero(values >= 0)
    rank[real[np.argsort(first[real], kind="stable")]] = np.arange(len(real))
    return rank[inverse]
