"""The domain ``cluster``: which cluster a trace gets, what is known, quotas, and comparisons on it."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from job_fakes import jobs

from handrail.envs.cluster import MachineGroup
from handrail.envs.cluster.metrics import Objective
from handrail.experiments.compare import compare
from handrail.experiments.domains.cluster import DOMAIN, ClusterScenario
from handrail.experiments.domains.cluster_system import describe_cluster, proportional_quotas
from handrail.experiments.load_jobs import offered_load
from handrail.experiments.report.table import comparison_lines, comparison_table
from handrail.experiments.scenario import prepare
from handrail.traces import HandrailError


def cluster(trace, **fields):
    return DOMAIN.system(ClusterScenario(**fields), trace)


def test_processors_are_the_headers_unless_they_are_given():
    assert cluster(jobs()).processors == 32
    assert cluster(jobs(), processors=7).processors == 7
    with pytest.raises(HandrailError, match="does not say how many processors there are; add --processors N"):
        cluster(jobs().replace(processors=None))


def test_a_gpu_trace_gets_servers_at_a_load_of_four_fifths():
    trace = jobs(2000, gpus=True)
    config = cluster(trace)
    assert {group.gpus for group in config.groups} == {8}
    load, servers = offered_load(trace, config), config.groups[0].machines
    assert load <= 0.8 < load * servers / (servers - 1)
    assert describe_cluster(config) == f"{servers} machines of 8 GPUs"


def test_machines_and_node_lists_are_taken_as_given():
    assert cluster(jobs(gpus=True), machines="4x16").groups == (MachineGroup(machines=16, gpus=4),)
    groups = (MachineGroup(machines=2, gpus=8), MachineGroup(machines=3, gpus=1))
    config = cluster(jobs(gpus=True), groups=groups)
    assert config.groups == groups
    assert describe_cluster(config) == "5 machines with 19 GPUs"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"machines": "8"}, "is not GPUSxMACHINES"),
        ({"machines": "0x4"}, "1 to 1,024 GPUs"),
        ({"machines": "8x4", "processors": 2}, "--processors and --machines both say"),
        ({"backfill": "reference"}, "--backfill reference belongs to --protocol rlscheduler"),
        ({"fallback": "lifo"}, "no heuristic is named 'lifo'"),
        ({"rate": 2.0, "load": 0.5}, "--rate and --load both set"),
    ],
)
def test_options_that_do_not_go_together_are_refused(fields, message):
    with pytest.raises(HandrailError, match=message):
        prepare(jobs(), ClusterScenario(**fields))


def test_a_trace_that_offers_no_load_sizes_no_cluster():
    with pytest.raises(HandrailError, match="add --machines GPUSxMACHINES"):
        cluster(jobs(4, gpus=True).replace(arrival_s=np.zeros(4)))


def test_run_times_are_the_users_estimates_where_every_job_has_one():
    assert cluster(jobs()).knowledge == "user_estimate"
    assert cluster(jobs(estimates=False)).knowledge == "predicted"
    assert cluster(jobs(estimates=False), protocol="rlscheduler").knowledge == "user_estimate"
    assert cluster(jobs(), knowledge="true").knowledge == "true"
    some = jobs().estimate_s.copy()
    some[5] = np.nan
    assert cluster(jobs().replace(estimate_s=some)).knowledge == "predicted"


def test_the_standing_order_is_the_fallbacks():
    assert cluster(jobs()).discipline == "sjf"
    assert cluster(jobs(), fallback="f1").discipline == "f1"
    assert cluster(jobs(), fallback="random").discipline == "fcfs"
    assert cluster(jobs(), fallback="f1", discipline="saf").discipline == "saf"


def test_quotas_follow_the_work_and_hold_every_job():
    trace = jobs(2000, gpus=True)
    assert cluster(trace, machines="8x8").quotas is None
    assert cluster(trace, quotas="none").quotas is None
    config = cluster(trace)
    assert set(config.quotas) == {"a", "b", "c"}
    work = [trace.area_s[trace.tenant == code].sum() for code in range(3)]
    order = np.argsort(work)
    assert (np.diff([config.quotas["abc"[k]] for k in order]) >= 0).all()
    assert all(8 <= quota <= config.size for quota in config.quotas.values())
    tiny = proportional_quotas(trace.head(3), 1000.0)
    for code, name in enumerate("abc"):
        rows = trace.head(3).tenant == code
        assert tiny[name] >= trace.head(3).size[rows].max(initial=0.0)
    with pytest.raises(HandrailError, match="needs tenants"):
        cluster(jobs(), quotas="proportional")


def test_an_outcome_is_judged_by_slowdown_and_wait():
    class Outcome:
        decision, jct_s = 3, 0.0

        def __init__(self, bounded_slowdown, wait_s):
            self.bounded_slowdown, self.wait_s = bounded_slowdown, wait_s

    judge = DOMAIN.judge(Objective(slo_slowdown=5.0, slo_wait_s=100.0))
    verdicts = [judge(Outcome(*pair)) for pair in ((5.0, 100.0), (5.1, 1.0), (1.0, 101.0), (float("inf"), 0.0))]
    assert [v.violated for v in verdicts] == [False, True, True, True]
    assert [v.decision for v in verdicts] == [3] * 4


@pytest.fixture(scope="module")
def comparison():
    return compare(jobs(900), ClusterScenario(load=0.9, load_by="compress"), "sabotage:worst", placebo=1)


def test_a_comparison_has_every_arm_and_table(comparison):
    summary = comparison.summary
    for name in ("fallback", "unguarded", "guarded"):
        assert summary[name]["jobs"] == summary[name]["measured_jobs"] == 900
        assert set(summary[name]["by_size"]) == {"1", "2-8", "9-64", "65+"}
    assert summary["knowledge"] == "user_estimate"
    assert summary["oracle"] is False
    assert summary["load"]["utilisation"] == pytest.approx(0.9)
    assert summary["ratio"]["unguarded"]["bounded_slowdown"]["mean"] > 1.5
    assert (
        summary["ratio"]["guarded"]["bounded_slowdown"]["mean"]
        < 0.5 * (summary["ratio"]["unguarded"]["bounded_slowdown"]["mean"])
    )
    assert summary["notes"][0] == "run times: the users' estimates"
    lines = comparison_lines(summary, DOMAIN)
    assert lines[0].startswith("gain kept behind the guard: slowdown P99 -, wait P99 -")
    assert comparison_table(summary, DOMAIN)


def test_the_run_folder_holds_the_cluster_and_the_jobs(comparison):
    files = comparison.files()
    run = json.loads(files["run.json"])
    assert run["domain"] == "cluster"
    assert run["cluster"]["processors"] == 32
    assert run["trace"]["jobs"] == 900
    table = pq.read_table(pa.BufferReader(files["results-guarded.parquet"]))
    assert {"arrival_s", "start_s", "finish_s", "size", "status", "measured"} <= set(table.column_names)
    assert len(table) == 900
    assert files["figure.png"].startswith(b"\x89PNG")


def test_an_oracle_is_marked():
    summary = compare(jobs(120), ClusterScenario(knowledge="true"), "saf").summary
    assert summary["oracle"] is True
    assert any(note.startswith("oracle: ") for note in summary["notes"])
    headers = [str(column.header) for column in comparison_table(summary, DOMAIN).renderables[0].columns]
    assert headers[1] == "fallback\nsjf (oracle)"


def test_a_comparison_is_brought_down_from_an_overload():
    summary = compare(jobs(200, gap_s=2.0), ClusterScenario(), "fcfs").summary
    assert summary["load"]["stretched"]
    assert summary["load"]["utilisation"] == pytest.approx(0.8)
    assert any("stretched" in note for note in summary["notes"])
