"""The decision log: complete, the same after Parquet, hashed the same in any process."""

from __future__ import annotations

import json
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

from handrail.policies.guards import DecisionRecorder, Stage, State, Verdict
from handrail.policies.guards.recorder import MAX_EVIDENCE, WHO

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
        st.integers(0, 2),
        st.sampled_from(list(State)),
        st.sampled_from(VERDICTS),
        st.lists(st.sampled_from(VERDICTS), max_size=4),
        st.sampled_from(list(Stage)),
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
            "who": WHO[who],
            "asked": asked,
            "state": state.label,
            "stage": stage.label,
            "verdict": verdict.kind,
            "check": verdict.check,
            "reason": verdict.reason,
            "said": json.dumps(
                [[v.check, v.kind, v.reason, [name for name, _ in v.evidence]] for v in said], separators=(",", ":")
            ),
            "evidence_names": " ".join(name for v in said for name, _ in v.evidence),
            "evidence": [value for v in said for _, value in v.evidence],
        }
        for i, (now_s, proposed, fallback, executed, asked, who, state, verdict, said, stage) in enumerate(rows)
    ]
    assert back.to_pylist() == table.to_pylist() == expected


@settings(deadline=None)
@given(ROWS, ROWS)
def test_hashes_are_equal_exactly_where_the_logs_are(a, b):
    assert record(a).log_hash() == record(a).log_hash()
    assert (record(a).log_hash() == record(b).log_hash()) == (a == b)


def test_what_decided_is_what_was_said_where_nothing_else_is():
    recorder = record([(0.0, 1, 0, 0, True, False, State.CLOSED, VERDICTS[2])])
    row = recorder.to_table().to_pylist()[0]
    assert json.loads(row["said"]) == [["cost-margin:ttft_s", "veto", "ttft-s-over-margin", ["proposed", "limit"]]]
    assert row["evidence"] == [1.5, 1.25]
    assert row["stage"] == "full"


def test_the_evidence_of_an_accept_is_not_kept_and_too_much_of_it_is_cut():
    much = Verdict("veto", "b", "bad", tuple((f"n{i}", float(i)) for i in range(9)))
    talkative = Verdict("accept", "a", "ok", (("x", 1.0),))
    recorder = record([(0.0, 1, 0, 0, True, 0, State.CLOSED, much, [talkative, much, much])])
    row = recorder.to_table().to_pylist()[0]
    assert [len(one[3]) for one in json.loads(row["said"])] == [0, 9, 3]
    assert row["evidence"] == [*range(9), *range(3)]
    assert len(row["evidence"]) == MAX_EVIDENCE


def test_evidence_beyond_single_precision_is_recorded_as_infinite():
    numbers = (("a", 1e300), ("b", -1e300), ("c", float("nan")), ("d", float("inf")))
    recorder = record([(0.0, 1, 0, 0, True, 0, State.CLOSED, Verdict("veto", "c", "r", numbers))])
    evidence = recorder.to_table()["evidence"].to_pylist()[0]
    assert evidence[:2] == [float("inf"), float("-inf")]
    assert np.isnan(evidence[2])
    assert evidence[3] == float("inf")


def test_a_decision_with_all_evidence_that_may_be_kept_takes_under_100_bytes_in_memory():
    recorder = DecisionRecorder()
    numbers = tuple((f"n{i}", float(i)) for i in range(MAX_EVIDENCE))
    for i in range(20_000):
        said = [Verdict("veto", "b", "bad", numbers), VERDICTS[0]]
        recorder.append(float(i), 1, 0, 0, True, 0, State.CLOSED, said[0], said)
    assert 29 + 4 * MAX_EVIDENCE <= recorder.memory_bytes() / 20_000 < 100


def test_metadata_comes_back_from_parquet(tmp_path):
    table = record([(0.0, 1, 0, 0, True, 0, State.CLOSED, VERDICTS[0])]).to_table({"policy_hash": "ab"})
    pq.write_table(table, tmp_path / "log.parquet")
    assert pq.read_table(tmp_path / "log.parquet").schema.metadata == {b"policy_hash": b"ab"}


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
from handrail.policies.guards import GuardConfig, RolloutConfig, SupervisorConfig
from toy_fleet import Fleet, RandomReplica, ShortestDrain, run
config = GuardConfig.for_routing()
if ROLLOUT:
    quick = RolloutConfig(block_s=0.5, min_stage_s=1.0, shadow_decisions=50, canary_decisions=50, objection_share=1.0)
    config = config.model_copy(update={"supervisor": SupervisorConfig(min_dwell_s=2.0, rollout=quick)})
guarded = guarded_by(config, RandomReplica(seed=5), ShortestDrain())
run(Fleet(seed=3, load=0.8), guarded, 3_000)
print(guarded.recorder.log_hash(), guarded.availability, guarded.interventions, guarded.to_table().schema.metadata)
"""


@pytest.mark.parametrize("rollout", [False, True])
def test_two_processes_with_different_hash_seeds_make_one_log(rollout):
    here = Path(__file__).parent
    answers = {
        subprocess.run(
            [sys.executable, "-c", f"ROLLOUT = {rollout}{SCRIPT}"],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(here)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(answers) == 1
    assert ("control-block" in next(iter(answers))) == rollout
    assert len(answers.pop().split()[0]) == 64
