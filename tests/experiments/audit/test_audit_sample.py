"""Which decisions are audited, and what their findings add up to."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.experiments.audit.auditor import Finding
from handrail.experiments.audit.sample import ACCEPTED, Sample, Stratum, draw_sample
from handrail.experiments.audit.summary import judge, missed_harms, summarize, wilson


def log_of(rows):
    """A decision log from (proposed, fallback, who, asked, reason)."""
    names = ("proposed", "fallback", "who", "asked", "reason")
    return pa.table({name: [row[i] for row in rows] for i, name in enumerate(names)})


AGREED = (1, 1, "learned", True, "ok")
DIFFERENT = (2, 1, "learned", True, "ok")
VETOED = (2, 1, "fallback", True, "cost-over-margin")
BROKEN = (-1, 1, "fallback", True, "not-finite")
OPEN = (-1, 1, "fallback", False, "open")


def test_every_kind_of_decision_has_its_place():
    sample = draw_sample(log_of([AGREED, DIFFERENT, VETOED, BROKEN, OPEN, OPEN]), 10, 0)
    assert sample.agreeing == 1
    assert sample.unusable == {"not-finite": 1}
    assert [(s.reason, s.intervened, s.asked, s.size, s.decisions) for s in sample.strata] == [
        (ACCEPTED, False, True, 1, (1,)),
        ("cost-over-margin", True, True, 1, (2,)),
        ("open", True, False, 2, (4, 5)),
    ]


@given(
    st.lists(st.sampled_from([AGREED, DIFFERENT, VETOED, BROKEN, OPEN]), min_size=1, max_size=200), st.integers(1, 9)
)
def test_every_decision_is_counted_once_and_samples_are_of_their_stratum(rows, per_stratum):
    sample = draw_sample(log_of(rows), per_stratum, 3)
    assert sample.agreeing + sum(sample.unusable.values()) + sum(s.size for s in sample.strata) == len(rows)
    for stratum in sample.strata:
        assert len(stratum.decisions) == min(per_stratum, stratum.size) == len(set(stratum.decisions))
        assert list(stratum.decisions) == sorted(stratum.decisions)
        for decision in stratum.decisions:
            assert rows[decision][4] == stratum.reason or stratum.reason == ACCEPTED
            assert (rows[decision][2] == "learned") == (not stratum.intervened)


def test_a_sample_is_spread_over_the_run_and_follows_its_seed():
    log = log_of([VETOED] * 1000)
    drawn = draw_sample(log, 10, 1).strata[0].decisions
    assert np.all(np.diff(drawn) == 100)
    assert drawn == draw_sample(log, 10, 1).strata[0].decisions
    assert drawn != draw_sample(log, 10, 2).strata[0].decisions


def finding(decision, stratum, harm_s):
    return Finding(decision, float(decision), stratum, 2, 1, 10.0 + harm_s, 10.0)


def test_a_difference_within_the_margin_is_none():
    assert [judge(finding(0, 0, harm_s), 0.01) for harm_s in (0.2, 0.1, 0.0, -0.1, -0.2)] == [1, 0, 0, 0, -1]
    assert judge(finding(0, 0, np.inf), 0.01) == 1


def test_precision_and_recall_weigh_strata_by_their_size():
    sample = Sample(
        (
            Stratum(ACCEPTED, False, True, 100, (0, 1, 2, 3)),
            Stratum("veto", True, True, 10, (10, 11)),
            Stratum("open", True, False, 30, (20, 21, 22)),
        ),
        agreeing=5,
        unusable={},
        decisions=145,
    )
    findings = [
        *(finding(d, 0, harm_s) for d, harm_s in ((0, 1.0), (1, -1.0), (2, 0.0), (3, 0.0))),
        *(finding(d, 1, harm_s) for d, harm_s in ((10, 1.0), (11, 1.0))),
        *(finding(d, 2, harm_s) for d, harm_s in ((20, 1.0), (21, -1.0), (22, 0.0))),
    ]
    summary = summarize(sample, findings, 0.01, 0)
    right, wrong, missed = 10 + 30 / 3, 30 / 3, 100 / 4
    assert summary["precision"]["value"] == pytest.approx(right / (right + wrong))
    assert summary["recall"]["value"] == pytest.approx(right / (right + missed))
    assert summary["precision"]["low"] <= summary["precision"]["value"] <= summary["precision"]["high"]
    assert [row["harmful"] for row in summary["by_reason"]] == [1, 2, 1]
    assert [row["basis"] for row in summary["by_reason"]] == ["choice", "choice", "rule"]
    assert summary["by_reason"][0]["precision"] is None
    assert [m["decision"] for m in missed_harms(sample, findings, 0.01, 5)] == [0]


def test_an_audit_without_findings_claims_nothing():
    summary = summarize(Sample((), 3, {}, 3), [], 0.01, 0)
    assert summary["precision"] == {"value": None, "low": None, "high": None} == summary["recall"]


def test_wilson_is_the_textbook_interval():
    share = wilson(8, 10)
    assert (share.value, share.low, share.high) == pytest.approx((0.8, 0.4901625, 0.9433178), abs=1e-6)
    assert wilson(0, 10).low == 0.0
    assert wilson(0, 0).value is None
