"""The canonical trace: its checks, its immutability, its hash."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
from trace_samples import small_trace

from handrail.traces import RequestTrace, TraceError


def test_columns_are_read_only_and_cut_loose_from_their_source():
    mine = np.array([0.0, 1.0])
    trace = RequestTrace(mine, np.array([1, 2]), np.array([3, 4]))
    mine[0] = 5.0
    assert trace.arrival_s[0] == 0.0
    for column in (trace.arrival_s, trace.prompt_tokens, trace.output_tokens):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 9
    with pytest.raises(AttributeError):
        trace.name = "other"  # pyright: ignore[reportAttributeAccessIssue]


def test_every_column_stays_read_only_through_transforms_and_pickling():
    trace = small_trace()
    for made in (trace.head(5), trace.superpose(2, 1), trace.concat(trace), pickle.loads(pickle.dumps(trace))):
        assert made.prefix_blocks is not None
        assert made.session_id is not None
        for array in (made.arrival_s, made.prompt_tokens, made.session_id, *made.prefix_blocks):
            assert not array.flags.writeable


def test_pickling_keeps_content_and_copies_share_it():
    trace = small_trace()
    assert pickle.loads(pickle.dumps(trace)).content_hash == trace.content_hash
    assert copy.deepcopy(trace) is trace


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arrival_s": np.array([0.0, 2.0, 1.0])}, "row 3: arrival_s goes back"),
        ({"arrival_s": np.array([-1.0, 2.0, 3.0])}, "row 1: arrival_s is negative"),
        ({"arrival_s": np.array([0.0, np.nan, 3.0])}, "row 2: arrival_s is not a finite"),
        ({"arrival_s": np.array([0.0, 1.0])}, "column prompt_tokens has shape"),
        ({"prompt_tokens": np.array([1, 0, 1])}, "row 2: prompt_tokens is below 1"),
        ({"prompt_tokens": np.array([1.5, 1, 1])}, "whole numbers"),
        ({"output_tokens": np.array([1, 1, -1])}, "row 3: output_tokens is negative"),
        ({"session_id": np.array([0, -2, 0])}, "row 2: session_id is below -1"),
        ({"tenant": np.array([0, 1, 0]), "tenant_names": ("a",)}, "row 2: tenant is no index"),
        ({"tenant_names": ("a",)}, "without the column"),
        ({"model": np.array([0, 0, 0]), "model_names": ("a\nb",)}, "control characters"),
        ({"prefix_blocks": (np.array([0, 1, 1, 2]), np.array([1]))}, "prefix_block_tokens must be at least 1"),
        ({"prefix_blocks": (np.array([0, 1, 1, 2]), np.array([1])), "prefix_block_tokens": 16}, "offsets must rise"),
    ],
)
def test_wrong_columns_are_refused(changes: dict, message: str):
    values = {
        "arrival_s": np.array([0.0, 1.0, 2.0]),
        "prompt_tokens": np.array([1, 1, 1]),
        "output_tokens": np.array([1, 1, 1]),
    }
    with pytest.raises(TraceError, match=message):
        RequestTrace(**{**values, **changes})


def test_hash_tells_content_apart_and_ignores_name_and_numbering():
    trace = small_trace()
    assert trace.replace(name="other", notes={"rows": 1}).content_hash == trace.content_hash
    assert trace.tenant is not None
    renamed = trace.replace(tenant=1 - trace.tenant, tenant_names=trace.tenant_names[::-1])
    assert renamed.content_hash == trace.content_hash
    others = [
        trace.replace(output_tokens=trace.output_tokens + 1),
        trace.replace(tenant=1 - trace.tenant),
        trace.replace(priority=None),
        trace.replace(session_id=None),
        trace.replace(prefix_blocks=None, prefix_block_tokens=0),
        trace.replace(arrival_s=np.nextafter(trace.arrival_s, np.inf)),
        trace.head(len(trace) - 1),
    ]
    assert len({trace.content_hash, *(other.content_hash for other in others)}) == len(others) + 1


@pytest.mark.parametrize("hash_seed", ["0", "7"])
def test_hash_is_the_same_in_every_process(hash_seed: str):
    code = "from handrail.traces import load_trace; print(load_trace().superpose(2, 3).content_hash)"
    environment = {"PYTHONHASHSEED": hash_seed, "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    from handrail.traces import load_trace

    assert done.stdout.strip() == load_trace().superpose(2, 3).content_hash


def test_empty_selection_is_a_trace():
    empty = small_trace().select(np.zeros(50, bool))
    assert len(empty) == 0
    assert empty.duration_s == 0.0
    assert len(empty.superpose(3, 0)) == len(empty.scale_rate(2.0)) == len(empty.thin(0.5, 0)) == 0
    assert empty.concat(small_trace()).content_hash == small_trace().content_hash
