"""Plausibility: what is wrong at once, what must last, and what is quiet."""

from __future__ import annotations

import numpy as np
import pytest
from guard_stand import LAYOUT, context, observe
from pydantic import ValidationError

from handrail.policies.guards import GuardConfig, PlausibilityConfig, build_guard
from handrail.policies.guards.checks import PlausibilityCheck
from handrail.traces.errors import HandrailError

FROZEN = PlausibilityConfig(
    telemetry_fields=("running", "kv_fraction"),
    own_fields=("inflight",),
    frozen_decisions=5,
    frozen_s=2.0,
    implausible_decisions=3,
    implausible_s=0.0,
    plausible_decisions=4,
    trip_after=6,
)
BOOKS = PlausibilityConfig(
    reported_fields=("waiting", "running"),
    booked_field="inflight",
    books_absolute=4.0,
    books_relative=0.5,
    implausible_decisions=3,
    implausible_s=1.0,
    plausible_decisions=4,
)


def said(config: PlausibilityConfig, observations, step_s: float = 1.0) -> list[tuple[str, str]]:
    check = PlausibilityCheck(config, LAYOUT)
    verdicts = [check.judge(context(x, decision=i, now_s=i * step_s)) for i, x in enumerate(observations)]
    return [(v.kind, v.reason) for v in verdicts]


def first_objection(verdicts) -> int | None:
    return next((i for i, (kind, _) in enumerate(verdicts) if kind != "accept"), None)


def test_telemetry_that_stands_still_while_the_books_move_is_frozen():
    # Five moves are seen at decision 5, which is the first implausible one; the third is objected to.
    verdicts = said(FROZEN, [observe(running=3, inflight=i + 1) for i in range(16)])
    assert first_objection(verdicts) == 7
    assert {reason for kind, reason in verdicts[7:]} == {"telemetry-frozen"}
    assert [kind for kind, _ in verdicts[7:]] == ["veto"] * 6 + ["trip"] * 3


@pytest.mark.parametrize(
    "observations",
    [
        [observe(running=i % 2 + 1, inflight=i + 1) for i in range(100)],  # telemetry moves
        [observe(running=3, inflight=4) for _ in range(100)],  # nothing moves
        [observe(inflight=i % 2) for i in range(100)],  # an idle system stands still
        [observe(running=2, inflight=i % 2) for i in range(100)],  # the books say again and again that all is done
    ],
    ids=["moving", "still", "idle", "emptying"],
)
def test_a_system_that_moves_or_rests_is_plausible(observations):
    assert first_objection(said(FROZEN, observations)) is None


def test_frozen_needs_time_and_not_only_decisions():
    frozen = [observe(running=3, inflight=i + 1) for i in range(100)]
    assert first_objection(said(FROZEN, frozen, step_s=0.01)) is None
    assert first_objection(said(FROZEN, frozen, step_s=0.0)) is None
    assert first_objection(said(FROZEN, frozen, step_s=0.05)) == 42


def test_the_smallest_change_is_a_change():
    quiet = [
        observe(kv_fraction=np.nextafter(np.float32(0.5), np.float32(1)) if i % 4 else 0.5, inflight=i + 1)
        for i in range(60)
    ]
    assert first_objection(said(FROZEN, quiet)) is None


def test_after_an_objection_it_takes_plausible_decisions_to_be_quiet():
    frozen = [observe(running=3, inflight=i + 1) for i in range(9)]
    moving = [observe(running=i + 4, inflight=i + 10) for i in range(6)]
    kinds = [kind for kind, _ in said(FROZEN, frozen + moving)]
    assert kinds == ["accept"] * 7 + ["veto"] * 2 + ["veto"] * 3 + ["accept"] * 3


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("running", np.nan, "telemetry-not-finite"),
        ("rate_60s", np.inf, "telemetry-not-finite"),
        ("kv_fraction", 1.5, "telemetry-out-of-bounds"),
        ("waiting", -1.0, "telemetry-out-of-bounds"),
    ],
)
def test_what_the_layout_forbids_is_objected_to_at_once(field, value, reason):
    good, bad = observe(running=1), observe(running=1)
    LAYOUT_AT = [i for i, name in enumerate(LAYOUT.names()) if name.split(".")[-1] == field]
    bad[LAYOUT_AT[-1]] = value
    verdicts = said(PlausibilityConfig(plausible_decisions=2), [good, bad, good, good, good])
    assert [kind for kind, _ in verdicts] == ["accept", "veto", "veto", "accept", "accept"]
    assert verdicts[1][1] == reason


def test_reports_that_contradict_the_own_books_must_do_so_for_a_while():
    agree, lost = observe(waiting=2, running=18, inflight=20), observe(running=2, inflight=20)
    assert first_objection(said(BOOKS, [agree] * 20)) is None
    assert first_objection(said(BOOKS, [lost, lost, agree] * 20)) is None
    assert first_objection(said(BOOKS, [lost] * 20)) == 2
    assert first_objection(said(BOOKS, [lost] * 20, step_s=0.1)) == 10
    assert said(BOOKS, [lost] * 3)[-1][1] == "telemetry-against-own-books"


def test_the_books_tolerance_is_absolute_plus_relative_and_by_replica():
    within, beyond = (
        observe(running=[6, 0, 0, 0], inflight=[20, 0, 0, 0]),
        observe(running=[5.9, 0, 0, 0], inflight=[20, 0, 0, 0]),
    )
    assert first_objection(said(BOOKS, [within] * 9)) is None  # 14 = 4 + half of 20
    assert first_objection(said(BOOKS, [beyond] * 9)) == 2


def test_ranges_reach_beyond_calibration_by_the_margin():
    config = PlausibilityConfig(
        range_fields=("running", "rate_60s"),
        range_low=(0.0, 2.0),
        range_high=(10.0, 4.0),
        range_margin=0.5,
        implausible_decisions=1,
        implausible_s=0.0,
    )
    assert first_objection(said(config, [observe(running=15, rate_60s=5)] * 5)) is None
    assert said(config, [observe(running=15.5, rate_60s=3)])[0] == ("veto", "telemetry-out-of-range")
    assert said(config, [observe(running=1, rate_60s=0.5)])[0] == ("veto", "telemetry-out-of-range")


@pytest.mark.parametrize(
    "bad",
    [
        {"reported_fields": ("waiting",)},
        {"booked_field": "inflight"},
        {"range_fields": ("waiting",), "range_low": (0.0,)},
        {"range_fields": ("waiting",), "range_low": (2.0,), "range_high": (1.0,)},
    ],
)
def test_bad_configs_are_refused(bad):
    with pytest.raises(ValidationError):
        PlausibilityConfig(**bad)


@pytest.mark.parametrize("field", ["telemetry_fields", "own_fields", "range_fields"])
def test_an_unknown_field_is_refused_when_the_guard_is_built(field):
    bounds = {"range_low": (0.0,), "range_high": (1.0,)} if field == "range_fields" else {}
    with pytest.raises(HandrailError, match="temperature"):
        build_guard(GuardConfig(checks=(PlausibilityConfig(**{field: ("temperature",)}, **bounds),)), LAYOUT)
