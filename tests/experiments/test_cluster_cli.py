"""``handrail --domain cluster``: the standing scheduler, sequences, filling machines, training; and mistakes."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from job_fakes import jobs, write_swf

from handrail.envs.cluster import ClusterConfig
from handrail.envs.cluster.metrics import bounded_slowdown, wait_s
from handrail.experiments.cli import main
from handrail.experiments.cluster_replay import run_native
from handrail.policies import load_policy
from handrail.traces import load_job_trace

LATENCY_KEYS = {"mean", "p50", "p90", "p95", "p99", "p999", "max"}

NODES = "sn,cpu_milli,memory_mib,gpu,model\nn0,64000,262144,2,T4\nn1,64000,262144,2,T4\n"
PODS = (
    "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time\n"
    "p0,1000,1024,1,1000,,LS,Running,0,100,0\n"
    "p1,1000,1024,1,500,,LS,Running,10,100,10\n"
    "p2,1000,1024,1,500,T4,LS,Running,20,100,20\n"
    "p3,1000,1024,2,1000,,LS,Running,30,100,30\n"
)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def swf(tmp_path) -> str:
    return str(write_swf(tmp_path / "jobs.swf", jobs(600, gap_s=8.0)))


def run(capfd, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    captured = capfd.readouterr()
    return int(end.value.code or 0), captured.out, captured.err


def replay(capfd, *arguments: str) -> dict:
    code, out, err = run(capfd, "replay", "--domain", "cluster", *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def test_a_discipline_rules_without_a_policy(capfd, swf):
    content = replay(capfd, "--trace", swf, "--discipline", "sjf", "--backfill", "easy")
    assert content["jobs"] == content["measured_jobs"] == 600
    assert content["decides"] == "sjf with easy backfilling"
    assert content["cluster"] == "32 processors"
    assert content["knowledge"] == "user_estimate"
    for metric in ("bounded_slowdown", "wait_s", "jct_s"):
        assert set(content[metric]) == LATENCY_KEYS
    plain = replay(capfd, "--trace", swf, "--discipline", "fcfs")
    assert plain["bounded_slowdown"]["mean"] > content["bounded_slowdown"]["mean"]


def test_replay_leaves_an_overload_as_it_is(capfd, tmp_path):
    swf = write_swf(tmp_path / "busy.swf", jobs(300, gap_s=2.0))
    content = replay(capfd, "--trace", str(swf), "--discipline", "fcfs")
    assert content["load"]["method"] == "as-is"
    assert content["load"]["utilisation"] > 0.95


def test_a_policy_decides_where_no_discipline_is_named(capfd, swf):
    content = replay(capfd, "--trace", swf, "--policy", "saf")
    assert content["jobs"] == 600
    assert content["knowledge"] == "user_estimate"
    assert content["notes"] == ["run times: the users' estimates"]


def test_sequences_give_the_mean_of_means_and_pooled_tails(capfd, swf):
    options = ["--trace", swf, "--discipline", "f1", "--protocol", "rlscheduler"]
    content = replay(capfd, *options, "--starts", "10,300", "--length", "200")
    trace, config = load_job_trace(swf), ClusterConfig(processors=32, discipline="f1", protocol="rlscheduler")
    results = [run_native(config, trace.rows(start, 200)).results for start in (10, 300)]
    slowdowns = [bounded_slowdown(r) for r in results]
    assert content["sequences"]["means"]["bounded_slowdown"] == pytest.approx([float(s.mean()) for s in slowdowns])
    assert content["bounded_slowdown"]["mean"] == pytest.approx(np.mean([s.mean() for s in slowdowns]))
    waits = np.concatenate([wait_s(r) for r in results])
    assert content["wait_s"]["p99"] == pytest.approx(np.quantile(waits, 0.99))
    assert content["jobs"] == 400
    assert content["sequences"]["starts"] == [10, 300]


def test_under_the_reference_protocol_a_heuristic_is_its_discipline(capfd, tmp_path):
    # So busy that jobs wait, but no more of them than a policy sees.
    swf = write_swf(tmp_path / "calm.swf", jobs(300, gap_s=30.0))
    shared = ["--trace", str(swf), "--protocol", "rlscheduler", "--starts", "0,150", "--length", "100"]
    native = replay(capfd, *shared, "--discipline", "f1")
    policy = replay(capfd, *shared, "--policy", "f1")
    assert native["bounded_slowdown"]["mean"] > 1.2
    assert policy["bounded_slowdown"] == pytest.approx(native["bounded_slowdown"], rel=1e-3)


def test_a_policy_that_fails_ends_its_sequences(capfd, swf):
    content = replay(capfd, "--trace", swf, "--policy", "sabotage:nan", "--starts", "7", "--length", "50")
    assert content["failed"].startswith("illegal action nan")
    assert (content["in_sequence"], content["at_decision"]) == (7, 0)


def test_sequences_have_a_table(capfd, swf):
    arguments = ["--trace", swf, "--discipline", "sjf", "--starts", "10,300", "--length", "200"]
    code, out, _ = run(capfd, "replay", "--domain", "cluster", *arguments)
    assert code == 0
    for text in ("first row", "mean of means", "p99, all jobs", "note: run times: the users' estimates"):
        assert text in out


@pytest.fixture
def openb(tmp_path) -> list[str]:
    (tmp_path / "nodes.csv").write_text(NODES)
    (tmp_path / "pods.csv").write_text(PODS)
    return ["--trace", "pods.csv", "--nodes", "nodes.csv"]


def test_machines_are_filled(capfd, openb):
    content = replay(capfd, *openb, "--placement", "best-fit", "--arrivals", "1", "--no-departures", "--seed", "3")
    assert content["gpu_allocated"] == {"at_100": 100.0, "end": 100.0}
    assert content["jobs"] == 4
    code, out, _ = run(capfd, "replay", "--domain", "cluster", *openb, "--placement", "fgd", "--no-departures")
    assert code == 0
    assert "GPUs allocated: " in out


def test_a_placement_alone_leaves_the_order_to_the_standing_scheduler(capfd, openb):
    content = replay(capfd, *openb, "--placement", "worst-fit")
    assert content["decides"] == "sjf with easy backfilling, worst-fit"
    assert content["cluster"] == "2 machines of 2 GPUs"
    assert content["lost"]["rejected"] == 0


def test_compare_and_its_command(capfd, swf, tmp_path):
    out = tmp_path / "out"
    arguments = ["--trace", swf, "--policy", "saf", "--out", str(out), "--slo-slowdown", "4", "--wait-limit", "off"]
    code, text, err = run(capfd, "compare", "--domain", "cluster", *arguments)
    assert code == 0, err
    for shown in ("slowdown p99", "JCT p99.9, s", "fragmentation", "by job size", "deadlines missed", "offered load"):
        assert shown in text
    command = json.loads((out / "run.json").read_bytes())["command"]
    assert command[:6] == ["handrail", "compare", "--domain", "cluster", "--trace", "jobs.swf"]
    assert command[command.index("--slo-slowdown") + 1] == "4.0"
    assert command[command.index("--wait-limit") + 1] == "off"


SEARCH = ["--algo", "cem", "--iterations", "1", "--population", "3", "--elites", "2", "--windows", "1"]


def test_a_scheduling_policy_is_searched_and_written(capfd, swf, tmp_path):
    out = tmp_path / "policy"
    arguments = ["--trace", swf, *SEARCH, "--per-iteration", "1", "--workers", "1", "--out", str(out), "--json"]
    code, text, err = run(capfd, "train", "--domain", "cluster", *arguments)
    assert code == 0, err
    report = json.loads(text)
    assert list(report["test"])[:2] == ["learned", "fcfs"]
    assert report["fallback_policy"] == "sjf"
    assert "run times: the users' estimates" in report["notes"]
    content = replay(capfd, "--trace", swf, "--policy", str(out))
    assert content["jobs"] == 600


@pytest.mark.skipif(not (find_spec("torch") and find_spec("sb3_contrib")), reason="needs torch and sb3-contrib")
def test_maskable_ppo_writes_a_policy_of_its_domain(capfd, swf, tmp_path):
    from handrail.envs.cluster import layout_for

    out = tmp_path / "policy"
    arguments = ["--trace", swf, "--steps", "64", "--workers", "1", "--out", str(out), "--json"]
    code, text, err = run(capfd, "train", "--domain", "cluster", *arguments)
    assert code == 0, err
    assert json.loads(text)["chosen"].startswith("step-")
    card = load_policy(out, layout_for(16), "cluster").card
    assert card.domain == "cluster"
    assert card.training.algorithm == "maskable-ppo"
    assert str(tmp_path) not in (out / "policy.json").read_text()


MISTAKES = [
    (["replay", "--discipline", "lifo"], "--discipline: Input should be 'fcfs'"),
    (["replay", "--discipline", "sjf", "--policy", "sjf"], "--discipline and --policy both say what decides"),
    (["replay", "--placement", "fgd", "--policy", "sjf"], "--placement and --policy both say what decides"),
    (["replay", "--no-departures", "--policy", "sjf"], "leave --policy out"),
    (["replay", "--replicas", "h100:1"], "--replicas is an option of --domain llm"),
    (["compare", "--telemetry-delay", "1"], "--telemetry-delay is an option of --domain llm"),
    (["replay", "--machines", "8y4"], "is not GPUSxMACHINES"),
    (["replay", "--processors", "4", "--machines", "8x4"], "--processors and --machines both say"),
    (["replay", "--backfill", "easy"], "--backfill goes with replay's --discipline"),
    (["replay", "--discipline", "sjf", "--backfill", "reference"], "belongs to --protocol rlscheduler"),
    (["replay", "--discipline", "srtf", "--backfill", "easy"], "srtf preempts"),
    (["replay", "--discipline", "sjf", "--knowledge", "none"], "sjf needs run times"),
    (["replay", "--knowledge", "oracle"], "--knowledge: Input should be"),
    (["replay", "--quotas", "half"], "--quotas: Input should be 'none' or 'proportional'"),
    (["replay", "--wait-limit", "soon"], "--wait-limit 'soon' is neither a number of seconds nor off"),
    (["replay", "--wait-limit", "-3"], "--wait-limit: Input should be greater than or equal to 0"),
    (["replay", "--length", "3"], "add --starts"),
    (["replay", "--starts", "a,b"], "--starts 'a,b' is not ROW,ROW,..."),
    (["replay", "--discipline", "sjf", "--starts", "999999"], "rows 999999 to 1001022 are not all there"),
    (["replay", "--arrivals", "1.3"], "--no-departures"),
    (["replay", "--no-departures"], "add --nodes FILE and --placement NAME"),
    (["replay", "--nodes", "none.csv", "--placement", "fgd", "--no-departures"], "none.csv: no such file"),
    (["replay", "--slo-slowdown", "0.5"], "--slo-slowdown: Input should be greater than or equal to 1"),
    (["compare", "--fallback", "lifo"], "no heuristic is named 'lifo'"),
    (["compare", "--policy", "round-robin"], "--policy round-robin: no such policy folder"),
    (["train", "--algo", "dqn", "--out", "p"], "--algo 'dqn' is unknown; choose one of maskable-ppo, cem"),
]


@pytest.mark.parametrize(("arguments", "says"), MISTAKES, ids=[" ".join(arguments) for arguments, _ in MISTAKES])
def test_a_mistake_is_one_line_and_exit_code_2(capfd, swf, arguments, says):
    code, out, err = run(capfd, *arguments, "--domain", "cluster", "--trace", swf)
    assert code == 2
    assert out == ""
    assert err.startswith("handrail: error: ")
    assert err.count("\n") == 1
    assert says in err


def test_an_option_of_clusters_is_none_of_llms(capfd):
    code, _, err = run(capfd, "replay", "--processors", "3")
    assert code == 2
    assert "--processors is an option of --domain cluster" in err
    assert "--starts is an option of --domain cluster" in run(capfd, "replay", "--starts", "3")[2]


STARTS = "1981,2756,4299,8850,3316,2714,5228,7762,4022,7085"


@pytest.mark.parametrize(
    ("discipline", "backfill", "mean", "p99_wait_s"),
    [("sjf", "none", 277.35, 649156), ("f1", "reference", 75.07, 318159)],
)
def test_published_figures_come_out_to_the_digit(
    capfd, shared_data: Path, discipline: str, backfill: str, mean: float, p99_wait_s: float
):
    trace = str(shared_data / "traces" / "cluster" / "lublin_1_256procs.swf")
    options = ["--processors", "256", "--discipline", discipline, "--backfill", backfill, "--protocol", "rlscheduler"]
    content = replay(capfd, "--trace", trace, *options, "--starts", STARTS, "--length", "1024")
    assert round(content["bounded_slowdown"]["mean"], 2) == mean
    assert round(content["wait_s"]["p99"]) == p99_wait_s
    assert len(content["sequences"]["means"]["jct_s"]) == 10
