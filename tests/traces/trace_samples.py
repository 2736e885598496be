"""Small traces and trace files that the tests share."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from hypothesis import strategies as st

from handrail.traces import RequestTrace

BURSTGPT_1 = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
5,GPT-4,1087,230,1317,Conversation log
118,GPT-4,0,0,0,Conversation log
185,ChatGPT,1360,647,2007,API log
"""
BURSTGPT_3 = """Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
100.0,1722ac82,43,GPT-4,906,446,1352,Conversation log
161.0,d5983bf9,2,ChatGPT,36,29,65,Conversation log
161.0,,8,GPT-4,1779,123,1902,API log
192.0,1722ac82,8,GPT-4,1631,0,1631,Conversation log
"""
AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
2023-11-16 18:16:51.2224671,879,55
"""
GENERIC = """arrival_s,prompt_tokens,output_tokens,session_id,tenant,model,priority,prefix_blocks,prefix_block_tokens
0.5,10,20,7,a,m,1,3 1,16
1.25,30,40,,b,m,-2,,16
2.0,50,60,7,a,n,0,3 1 2,16
"""
MOONCAKE = "".join(
    json.dumps({"timestamp": ms, "input_length": prompt, "output_length": output, "hash_ids": ids}) + "\n"
    for ms, prompt, output, ids in (
        (0, 1000, 5, [0, 1]),
        (0, 1500, 6, [0, 2, 3]),
        (2999, 513, 7, [0, 4]),
        (6000, 512, 8, [5]),
    )
)
SAMPLES = {"burstgpt-1": BURSTGPT_1, "burstgpt-3": BURSTGPT_3, "azure": AZURE, "generic": GENERIC, "mooncake": MOONCAKE}


def small_trace(n: int = 50, seed: int = 0, **changes: Any) -> RequestTrace:
    """A trace with every column."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 4, n)
    values: dict[str, Any] = {
        "arrival_s": np.sort(rng.uniform(0, 100, n)),
        "prompt_tokens": rng.integers(1, 1000, n),
        "output_tokens": rng.integers(1, 500, n),
        "session_id": rng.integers(-1, 6, n),
        "tenant": rng.integers(0, 2, n),
        "tenant_names": ("a", "b, with comma"),
        "model": rng.integers(0, 3, n),
        "model_names": ("x", "y", "unused or not"),
        "priority": rng.integers(-1, 2, n),
        "prefix_blocks": (np.concatenate(([0], np.cumsum(lengths))), rng.integers(0, 30, int(lengths.sum()))),
        "prefix_block_tokens": 16,
        "name": "small",
    }
    return RequestTrace(**{**values, **changes})


@st.composite
def request_traces(draw: st.DrawFn, max_size: int = 40) -> RequestTrace:
    """Traces with ties, sessions or none, of any size from 1."""
    n = draw(st.integers(1, max_size))
    ticks = draw(st.lists(st.integers(0, 200), min_size=n, max_size=n))
    sessions = draw(st.none() | st.lists(st.integers(-1, 5), min_size=n, max_size=n))
    lengths = st.lists(st.integers(1, 1000), min_size=n, max_size=n)
    return RequestTrace(
        arrival_s=np.sort(np.array(ticks, np.float64)) / 4,
        prompt_tokens=np.array(draw(lengths)),
        output_tokens=np.array(draw(lengths)),
        session_id=None if sessions is None else np.array(sessions),
    )


def think_times(trace: RequestTrace) -> list[tuple[float, ...]]:
    """Gaps within each session with two requests or more, rounded to a nanosecond, in any order of sessions."""
    if trace.session_id is None:
        return []
    gaps = []
    for session in np.unique(trace.session_id[trace.session_id >= 0]):
        times = trace.arrival_s[trace.session_id == session]
        gaps.append(tuple(np.round(np.diff(times), 9).tolist()))
    return sorted(gaps)
