"""Headroom: what foresight, choice afterwards and search leave to be gained."""

from __future__ import annotations

import json

import numpy as np
import pytest

from handrail.experiments.cli import main
from handrail.experiments.cli.headroom import _verdict
from handrail.experiments.domains.llm import LLMScenario
from handrail.experiments.headroom import Lookahead
from handrail.experiments.headroom.measure import _check_windows, _pieced, _Seen, statistic_of
from handrail.experiments.scenario import prepare
from handrail.policies import Feedback
from handrail.traces import RequestTrace
from handrail.traces.errors import HandrailError


class Line:
    """A simulator of one choice: action a costs ``costs[a]``, then nothing."""

    def __init__(self, costs, chosen=None):
        self.costs, self.chosen, self.now_s = costs, chosen, 0.0

    def fork(self, *_):
        return Line(self.costs, self.chosen)

    def apply(self, action, latency_s=0.0):
        self.chosen = action

    def advance_until(self, until_s):
        self.now_s = until_s

    def charged_s(self):
        return 0.0 if self.chosen is None else self.costs[self.chosen]


class First:
    """A fallback that takes action 0."""

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        return 0, state


def choice(costs, mask, candidates=9):
    policy = Lookahead(First(), 1.0, candidates)
    policy.bind(Line(costs), Line(costs))
    policy.notify(Feedback(0.0, 0, np.array(mask)))
    return policy.predict(np.zeros(1, np.float32))[0]


def test_the_cheapest_legal_action_is_taken():
    assert choice([3.0, 2.0, 1.0], [True, True, True]) == 2
    assert choice([3.0, 2.0, 1.0], [True, True, False]) == 1
    assert choice([3.0, 2.0, 1.0], [True, True, True], candidates=2) == 1


def test_of_equals_the_fallbacks_own_is_taken():
    assert choice([1.0, 1.0, 1.0], [True, True, True]) == 0


def test_each_window_takes_its_best_run():
    arrival_s = np.arange(8.0)
    early = _Seen(arrival_s, np.array([1.0] * 4 + [9.0] * 4))
    late = _Seen(arrival_s, np.array([5.0] * 4 + [2.0] * 4))
    assert _pieced([early, late], "mean", np.array([4.0])) == pytest.approx(1.5)
    assert statistic_of(np.array([1.0, np.inf]), "p99") == np.inf


def test_foresight_beats_the_fallback_on_the_bundled_trace(capsys):
    words = ["headroom", "--items", "600", "--iterations", "0", "--windows", "2", "--json", "--workers", "1"]
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 0
    content = json.loads(capsys.readouterr().out)
    mean = content["mean"]
    assert mean["lookahead"] < mean["fallback"]
    assert mean["best_heuristic"] <= mean["fallback"]
    assert mean["headroom"] == pytest.approx(
        1 - min(mean[key] for key in ("best_heuristic", "best_heuristic_per_window", "lookahead")) / mean["fallback"]
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--items", "300", "--windows", "400"], "--windows 400 is more than --items 300; take fewer windows"),
        (["--items", "2000", "--windows", "1999"], "--windows 1999: the stretch has only "),
        (["--items", "300", "--work", "afile"], "--work afile: is a file; name a folder"),
        (["--items", "300", "--work", "afile/within"], "--work afile/within: cannot be written (Not a directory)"),
    ],
)
def test_mistakes_end_in_one_line(capsys, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "afile").write_text("")
    with pytest.raises(SystemExit) as stopped:
        main(["headroom", "--quiet", *arguments])
    captured = capsys.readouterr()
    assert (stopped.value.code, captured.out, captured.err.count("\n")) == (2, "", 1)
    assert says in captured.err


def test_windows_are_refused_where_arrivals_at_once_leave_one_empty():
    trace = RequestTrace([0.0] * 8 + [1.0, 2.0], [10] * 10, [5] * 10, name="burst")
    ready = prepare(trace, LLMScenario(rate=1.0, split="all"))
    _check_windows(ready, 1)
    with pytest.raises(HandrailError, match="--windows 5: a window would have none of the 10 measured requests"):
        _check_windows(ready, 5)
    with pytest.raises(HandrailError, match="--windows 11: the stretch has only 10 measured requests; take fewer"):
        _check_windows(ready, 11)


@pytest.mark.parametrize(("headroom", "taken"), [(0.02, ""), (0.2, "; the learned policy takes -209% of it")])
def test_the_share_of_a_headroom_that_is_not_worth_it_is_left_out(headroom, taken):
    found = {"headroom": headroom, "worth_learning": headroom >= 0.05, "learned_share": -2.09}
    line = _verdict("mean", found)
    assert line.endswith("worth learning" + taken if taken else "not worth learning (under 5 %)")
