"""The decision log: complete, the same after Parquet, hashed the same in any process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handrail.policies.guards import DecisionRecorder, State, Verdict

VERDICTS = [
    Verdict("accept", "contract", "ok"),
    Verdict("veto", "contract", "not-finite"),
    Verdict("veto", "cost-margin:ttft_s", "ttft-s-over-margin", (("proposed", 1.5), ("limit", 1.25))),
    Verdict("trip", "breaker", "violations-over-reference", (("violations", 9.0), ("outcomes", 20.0), ("limit", 5.5))),
]
ROWS = st.lists(
    st.tuples(
        st.floats(0, 1e6),
        st.integers(-1, 3),
        st.integers(0, 3),
        st.integers(0, 3),
        st.booleans(),
        st.booleans(),
        st.sampled_from(list(State)),
        st.sampled_from(VERDICTS),
    ),
    max_size=50,
)


def record(rows) -> DecisionRecorder:
    recorder = DecisionRecorder()
    for row in rows:
        recorder.append(*row)
    return recorder


@settings(deadline=None)
@given(ROWS)
def test_every_row_comes_back_from_parquet(rows):
    table = record(rows).to_table()
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    back = pq.read_table(pa.BufferReader(sink.getvalue()))
    expected = [
        {
            "decision": i,
            "now_s": now_s,
            "proposed": proposed,
            "fallback": fallback,
            "executed": executed,
            "who": "learned" if learned else "fallback",
            "asked": asked,
            "state": state.label,
            "verdict": verdict.kind,
            "check": verdict.check,
            "reason": verdict.reason,
            "evidence_names": " ".join(name for name, _ in verdict.evidence),
            "evidence": [value for _, value in verdict.evidence],
        }
        for i, (now_s, proposed, fallback, executed, asked, learned, state, verdict) in enumerate(rows)
    ]
    assert back.to_pylist() == table.to_pylist() == expected


@settings(deadline=None)
@given(ROWS, ROWS)
def test_hashes_are_equal_exactly_where_the_logs_are(a, b):
    assert record(a).log_hash() == record(a).log_hash()
    assert (record(a).log_hash() == record(b).log_hash()) == (a == b)


def test_interventions_count_by_reason():
    recorder = record((0.0, 0, 0, 0, True, False, State.CLOSED, VERDICTS[i]) for i in (0, 2, 1, 2, 3, 0))
    assert recorder.interventions() == {"ttft-s-over-margin": 2, "not-finite": 1, "violations-over-reference": 1}


def test_columns_are_copies_by_name():
    recorder = record([(1.5, 2, 0, 2, True, True, State.HALF_OPEN, VERDICTS[0])])
    column = recorder.column("proposed")
    column[0] = 9
    assert recorder.column("proposed").tolist() == [2]
    assert recorder.column("state").tolist() == [State.HALF_OPEN]
    with pytest.raises(KeyError, match="no column"):
        recorder.column("codes")


def test_a_copied_column_does_not_stop_the_log_from_growing():
    recorder = DecisionRecorder()
    held = []
    for i in range(100):
        recorder.append(float(i), 0, 0, 0, True, True, State.CLOSED, VERDICTS[i % 4])
        held.append(recorder.column("now_s"))
        recorder.log_hash()
    assert len(recorder) == 100


def test_appending_takes_microseconds():
    best = min(_append_us(row=(0.0, 1, 0, 1, True, True, State.CLOSED, VERDICTS[0])) for _ in range(5))
    assert best < 15.0  # 0.6 on a quiet core; benchmarks/guard_overhead.py measures, this only catches a blow-up


def _append_us(row) -> float:
    recorder = DecisionRecorder()
    start = time.perf_counter()
    for _ in range(2_000):
        recorder.append(*row)
    return (time.perf_counter() - start) / 2_000 * 1e6


def test_a_log_takes_few_bytes_a_decision(tmp_path):
    rng = np.random.default_rng(np.random.SeedSequence(1))
    recorder = DecisionRecorder()
    now_s = 0.0
    for _ in range(20_000):
        now_s += rng.exponential(0.1)
        verdict = VERDICTS[0] if rng.random() < 0.9 else VERDICTS[2]
        recorder.append(now_s, int(rng.integers(4)), int(rng.integers(4)), 0, True, True, State.CLOSED, verdict)
    pq.write_table(recorder.to_table(), tmp_path / "log.parquet", compression="zstd")
    assert (tmp_path / "log.parquet").stat().st_size / 20_000 < 100


SCRIPT = """
import numpy as np
from guard_stand import Fixed, drive, guarded_by, observe
from handrail.policies.guards import GuardConfig
from toy_fleet import Fleet, RandomReplica, ShortestDrain, run
guarded = guarded_by(GuardConfig.for_routing(), RandomReplica(seed=5), ShortestDrain())
run(Fleet(seed=3, load=0.8), guarded, 3_000)
print(guarded.recorder.log_hash(), guarded.availability, guarded.interventions)
"""


def test_two_processes_with_different_hash_seeds_make_one_log():
    here = Path(__file__).parent
    answers = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(here)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(answers) == 1
    assert len(answers.pop().split()[0]) == 64
