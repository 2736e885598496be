"""The decision log of a run folder, read back, filtered, and told as stories."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from experiment_fakes import small_trace

from handrail.experiments.arms import Arm, run_arm
from handrail.experiments.decision_log import DECISIONS_FILE, RESULTS_FILE, find, guard_hash, read_decisions
from handrail.experiments.decision_story import story_at, story_lines
from handrail.experiments.domains.llm import LLMScenario
from handrail.experiments.report.run_folder import dump_table
from handrail.experiments.scenario import prepare
from handrail.policies.guards import GuardConfig, RolloutConfig, SupervisorConfig
from handrail.traces.errors import HandrailError

SCENARIO = LLMScenario(replicas="h100:1,a100:1")
GUARD = GuardConfig.for_routing()


def run_folder(path, policy="sabotage:worst", guard=GUARD, requests=600):
    """What a comparison writes of its guarded arm."""
    result = run_arm(prepare(small_trace(requests), SCENARIO), Arm("guarded", policy, guard))
    path.mkdir()
    (path / DECISIONS_FILE).write_bytes(result.decisions_parquet)
    (path / RESULTS_FILE).write_bytes(result.results_parquet)
    (path / "run.json").write_text("{}")
    return path, result


@pytest.fixture(scope="module")
def vetoed(tmp_path_factory):
    return run_folder(tmp_path_factory.mktemp("runs") / "vetoed")


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    return run_folder(tmp_path_factory.mktemp("runs") / "broken", policy="sabotage:nan")


def test_a_log_says_whose_it_is_and_which_request_each_decision_was_of(vetoed):
    folder, result = vetoed
    log = read_decisions(folder)
    assert log.about["guard_hash"] == guard_hash(GUARD)
    assert GuardConfig.from_json(log.about["guard"]) == GUARD
    assert (log.about["domain"], log.about["fallback"]) == ("llm", "expected-drain")
    assert log.about["last_rung"] == "own-books"
    assert len(log.about["log_hash"]) == 64
    assert log.table["item"].to_pylist() == sorted(set(log.table["item"].to_pylist()))
    taken = result.entry["interventions"]
    assert log.table["reason"].to_pylist().count("ttft-s-over-margin") == taken["ttft-s-over-margin"]


def test_a_bundled_size_log_takes_few_bytes_a_decision(vetoed):
    folder, _ = vetoed
    log = read_decisions(folder)
    without_texts = len(dump_table(log.table)) - len(dump_table(log.table.slice(0, 1)))
    assert without_texts / len(log.table) < 100


def test_the_same_arm_gives_the_same_log(vetoed, tmp_path):
    folder, _ = run_folder(tmp_path / "again")
    assert (folder / DECISIONS_FILE).read_bytes() == (vetoed[0] / DECISIONS_FILE).read_bytes()


def test_the_transitions_can_be_had_from_the_log_and_agree_with_its_states(broken):
    log = read_decisions(broken[0])
    assert log.transitions[0].cause == "not-finite"
    state = log.table["state"].to_pylist()
    assert state[log.transitions[0].decision] == "closed"
    assert state[log.transitions[0].decision + 1] == "open"
    spans = [(t.now_s, t.after.label) for t in log.transitions if t.after.label != "closed"]
    assert [start for start, _, _ in broken[1].guard_states] == [now_s for now_s, _ in spans]


def test_filters_agree_with_the_columns(vetoed):
    log = read_decisions(vetoed[0])
    table, now_s = log.table, log.now_s()
    who, reason = (np.array(table[name].to_pylist()) for name in ("who", "reason"))
    assert len(find(log)) == len(table)
    assert find(log, who="fallback").tolist() == np.flatnonzero(who == "fallback").tolist()
    assert find(log, reason="open").tolist() == np.flatnonzero(reason == "open").tolist()
    assert find(log, check="supervisor", reason="open").tolist() == np.flatnonzero(reason == "open").tolist()
    middle = float(now_s[len(now_s) // 2])
    between = find(log, since_s=middle, until_s=middle + 2.0)
    assert between.tolist() == np.flatnonzero((now_s >= middle) & (now_s <= middle + 2.0)).tolist()
    vetoes = find(log, check="cost-margin:ttft_s", verdict="veto")
    assert vetoes.tolist() == np.flatnonzero(reason == "ttft-s-over-margin").tolist()
    # A check that accepts is found too, though another decided.
    accepted = find(log, check="contract", verdict="accept")
    assert set(vetoes) <= set(accepted)


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"who": "me"}, "--who me: does not occur in this log; there are fallback, learned, last-rung"),
        ({"check": "twim"}, "--check twim: does not occur"),
        ({"reason": "bad-hair"}, "--reason bad-hair: does not occur"),
        ({"check": "contract", "verdict": "trip"}, "--verdict trip: does not occur"),
        ({"since_s": 2.0, "until_s": 1.0}, "--from 2 is after --to 1; give the earlier time first"),
        ({"until_s": float("nan")}, "--to nan is no time"),
    ],
)
def test_a_filter_that_names_nothing_says_what_there_is(vetoed, asked, complaint):
    with pytest.raises(HandrailError, match=complaint):
        find(read_decisions(vetoed[0]), **asked)


def test_the_story_of_a_veto(vetoed):
    log = read_decisions(vetoed[0])
    at = int(find(log, reason="ttft-s-over-margin")[3])
    now_s = float(log.now_s()[at])
    story = story_at(log, now_s)
    assert (story["decision"], story["item"]) == (at, log.table["item"][at].as_py())
    assert story["executed"]["who"] == "fallback"
    assert story["executed"]["action"] == story["fallback"]["action"] != story["proposed"]
    veto = story["said"][-1]
    assert (veto["check"], veto["verdict"]) == ("cost-margin:ttft_s", "veto")
    assert veto["evidence"]["proposed"] > veto["evidence"]["limit"]
    assert {"plausibility", "breaker", "contract"} <= {one["check"] for one in story["said"][:-1]}
    results = pq.read_table(vetoed[0] / RESULTS_FILE)
    row = story["item"]
    ttft_s = results["first_token_s"][row].as_py() - results["arrival_s"][row].as_py()
    assert story["outcome"]["value"] == pytest.approx(ttft_s)
    json.dumps(story, allow_nan=False)
    text = "\n".join(story_lines(story, "request"))
    for part in (f"decision {at} at", f"request {row} of", "vetoes (ttft-s-over-margin): proposed", "TTFT"):
        assert part in text


def test_between_two_decisions_the_earlier_one_is_told(vetoed):
    log = read_decisions(vetoed[0])
    first, second = log.now_s()[10:12]
    assert story_at(log, float(first + second) / 2)["decision"] == 10


def test_the_story_of_an_opening_and_of_an_open_supervisor(broken):
    log = read_decisions(broken[0])
    opening = log.transitions[0]
    story = story_at(log, opening.now_s)
    assert story["proposed"] is None
    assert story["supervisor"]["state"] == "closed"
    assert story["supervisor"]["then"] == {"state": "open", "cause": "not-finite", "until_s": opening.until_s}
    assert "gave no action in range" in "\n".join(story_lines(story, "request"))
    story = story_at(log, opening.now_s + 1.0)
    told = story["supervisor"]
    assert (told["state"], told["since_s"], told["until_s"]) == ("open", opening.now_s, opening.now_s + 30.0)
    text = "\n".join(story_lines(story, "request"))
    assert "was not asked" in text
    assert f"lets the policy probe at the first decision from {opening.until_s:.3f} s on" in text


def test_the_story_of_a_shadow(tmp_path):
    guard = GUARD.model_copy(update={"supervisor": SupervisorConfig(rollout=RolloutConfig())})
    folder, _ = run_folder(tmp_path / "shadow", "round-robin", guard, requests=200)
    story = story_at(read_decisions(folder), 1.0)
    assert story["executed"]["reason"] == "shadow"
    assert story["proposed"] is not None
    assert "stage shadow" in "\n".join(story_lines(story, "request"))


def test_a_time_outside_the_run_is_refused(vetoed):
    log = read_decisions(vetoed[0])
    for at_s in (-1.0, 1e9, float("nan")):
        with pytest.raises(HandrailError, match="the run goes from"):
            story_at(log, at_s)


def test_what_is_no_run_folder_is_refused(tmp_path, vetoed):
    with pytest.raises(HandrailError, match="no such run folder"):
        read_decisions(tmp_path / "nowhere")
    with pytest.raises(HandrailError, match="no run folder"):
        read_decisions(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(HandrailError, match="no guarded arm"):
        read_decisions(tmp_path)
    (tmp_path / DECISIONS_FILE).write_bytes(b"PAR1 or not")
    with pytest.raises(HandrailError, match="cannot be read"):
        read_decisions(tmp_path)
    pq.write_table(pa.table({"decision": [0]}), tmp_path / DECISIONS_FILE)
    with pytest.raises(HandrailError, match="is no decision log of this version"):
        read_decisions(tmp_path)


def test_a_story_without_results_says_which_file_is_missing(tmp_path, vetoed):
    (tmp_path / DECISIONS_FILE).write_bytes((vetoed[0] / DECISIONS_FILE).read_bytes())
    with pytest.raises(HandrailError, match=RESULTS_FILE):
        story_at(read_decisions(tmp_path), 1.0)
