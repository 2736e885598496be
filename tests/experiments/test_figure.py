"""The figure: the same bytes whatever the user's settings, and lost requests stay in the tail."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from handrail.experiments.domains.llm import DOMAIN
from handrail.experiments.report.figure import Curve, _ccdf, _p99_over_time, _plain_ticks, draw_comparison


def curves(n=1200, lost=0):
    rng = np.random.default_rng(1)
    made = {}
    for name in ("fallback", "unguarded", "guarded"):
        ttft_s = rng.lognormal(-2, 1, n)
        ttft_s[:lost] = np.inf
        made[name] = Curve(np.sort(rng.uniform(0, 600, n)), ttft_s)
    return made


def draw(**changes):
    return draw_comparison(
        curves(**changes), [(10.0, 60.0, "open"), (60.0, 70.0, "half-open")], 1.0, "a title", DOMAIN.report.figure
    )


def test_a_users_settings_change_no_byte():
    plain = draw()
    with matplotlib.rc_context({"font.size": 20, "savefig.dpi": 30, "axes.facecolor": "black"}):
        assert draw() == plain
    assert plain.startswith(b"\x89PNG")
    assert b"matplotlib" not in plain


def test_arms_that_lost_everything_or_failed_can_be_drawn():
    assert draw(n=20, lost=20).startswith(b"\x89PNG")
    made = curves()
    del made["unguarded"]
    assert draw_comparison(made, [], 1.0, "a title", DOMAIN.report.figure).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("limits", "shown"),
    [
        ((0.35, 1.1), ["0.4", "0.5", "0.6", "0.8", "1"]),
        ((0.03, 1.2), ["0.05", "0.1", "0.2", "0.5", "1"]),
        ((0.5, 2e4), ["1", "10", "100", "1,000", "10,000"]),
    ],
)
def test_a_log_axis_has_plain_labels_as_many_as_fit(limits, shown):
    figure = Figure()
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set(yscale="log", ylim=limits)
    _plain_ticks(axes.yaxis, *limits, room_decades=3.0)
    figure.canvas.draw()
    inside = [
        label
        for at, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
        if limits[0] <= at <= limits[1]
    ]
    assert [label.get_text() for label in inside] == shown
    assert not any(label.get_text() for label in axes.get_yticklabels(minor=True))


def test_the_ccdf_falls_to_the_share_that_is_lost():
    values = np.concatenate([np.arange(1.0, 91.0), np.full(10, np.inf)])
    x, share = _ccdf(values)
    assert x[-1] == 90.0
    assert share[0] == pytest.approx(0.995)
    assert share[-1] == pytest.approx(0.105)
    assert (np.diff(share) < 0).all()


def test_p99_over_time_is_that_of_each_span_and_breaks_where_it_is_lost():
    arrival_s = np.linspace(0.0, 60.0, 6000)
    ttft_s = np.where(arrival_s < 30.0, 1.0, 2.0)
    ttft_s[-50:] = np.inf
    at_s, p99 = _p99_over_time(Curve(arrival_s, ttft_s), 250)
    assert len(at_s) == 24
    assert set(p99[at_s < 29]) == {1.0}
    assert set(p99[(at_s > 31) & (at_s < 57)]) == {2.0}
    assert np.isnan(p99[-1])
