"""Audits of real runs on the bundled traces."""

from __future__ import annotations

import json
import shutil

import pytest

from handrail.experiments.audit import AuditOptions, audit_run, read_run
from handrail.experiments.audit.rerun import rerun_of
from handrail.experiments.cli import main
from handrail.experiments.cli.command_words import parse_compare
from handrail.experiments.guarding import scaled_margins
from handrail.policies.guards import GuardConfig
from handrail.traces import HandrailError, load_trace


def run_cli(*words):
    with pytest.raises(SystemExit) as stopped:
        main(list(words))
    return stopped.value.code


@pytest.fixture(scope="module")
def random_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit") / "run"
    words = ("compare", "--policy", "sabotage:random", "--window", "0:300", "--out", str(folder), "--quiet")
    assert run_cli(*words, "--workers", "1") == 0
    return folder


def rerun(folder):
    record = read_run(folder)
    return rerun_of(record, parse_compare(record.command).read_trace(None), parse_compare(record.command).policy())


def test_vetoes_of_a_careless_router_are_mostly_right(random_run):
    report = audit_run(rerun(random_run), AuditOptions(per_reason=120))
    by_reason = {row["reason"]: row for row in report.summary["by_reason"]}
    vetoed, opened = by_reason["ttft-s-over-margin"], by_reason["open"]
    assert vetoed["audited"] > 50
    assert opened["audited"] == 120
    assert vetoed["harmful"] > vetoed["better"]
    assert opened["harmful"] > 4 * opened["better"]  # left to rule, it does far more than one choice can
    assert len(report.findings) == sum(len(s.decisions) for s in report.sample.strata)


def test_the_same_seed_gives_the_same_findings(random_run):
    options = AuditOptions(per_reason=5)
    assert audit_run(rerun(random_run), options).findings == audit_run(rerun(random_run), options).findings


def test_the_command_writes_numbers_and_a_figure(random_run, capsys, tmp_path):
    words = ("guard", "audit", str(random_run), "--per-reason", "4", "--no-frontier", "--json", "--out", str(tmp_path))
    assert run_cli(*words) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["domain"] == "llm"
    assert content["recall"].keys() == {"value", "low", "high"}
    assert json.loads((tmp_path / "audit.json").read_bytes())["by_reason"] == content["by_reason"]
    assert (tmp_path / "audit.png").read_bytes().startswith(b"\x89PNG")


def test_another_trace_or_policy_is_refused(random_run):
    record = read_run(random_run)
    with pytest.raises(HandrailError, match="is not the trace of"):
        rerun_of(record, load_trace("bundled").head(500), "sabotage:random")
    with pytest.raises(HandrailError, match="is not the policy of"):
        rerun_of(record, load_trace("bundled"), "bundled")


def test_a_log_of_another_run_is_refused(random_run, tmp_path):
    import pyarrow.parquet as pq

    shutil.copytree(random_run, tmp_path / "run")
    path = tmp_path / "run" / "decisions-guarded.parquet"
    table = pq.read_table(path)
    column = table.schema.get_field_index("executed")
    changed = [(x + 1) % 4 for x in table.column("executed").to_pylist()]
    pq.write_table(table.set_column(column, "executed", [changed]), path)
    with pytest.raises(HandrailError, match="decides otherwise than its log"):
        audit_run(rerun(tmp_path / "run"), AuditOptions(per_reason=1))


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"stress": {"name": "kv-cut"}}, "was made under stress kv-cut, which an audit cannot replay"),
        ({"isolation": {"timeout_s": 0.1}}, "was made under --isolate"),
    ],
)
def test_a_run_that_no_replay_repeats_is_refused(random_run, tmp_path, capsys, entry, says):
    shutil.copytree(random_run, tmp_path / "run")
    path = tmp_path / "run" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entry))
    assert run_cli("guard", "audit", str(tmp_path / "run")) == 2
    assert says in capsys.readouterr().err


def test_a_margin_that_is_no_number_is_refused(random_run, capsys):
    assert run_cli("guard", "audit", str(random_run), "--margin", "inf") == 2
    assert "--margin inf is no share" in capsys.readouterr().err


def test_a_log_that_is_cut_off_or_something_else_is_refused(random_run, tmp_path, capsys):
    shutil.copytree(random_run, tmp_path / "run")
    path = tmp_path / "run" / "decisions-guarded.parquet"
    path.write_bytes(path.read_bytes()[:3000])
    assert run_cli("guard", "audit", str(tmp_path / "run")) == 2
    assert "decisions-guarded.parquet: cannot be read" in capsys.readouterr().err
    shutil.copy(tmp_path / "run" / "results-guarded.parquet", path)
    assert run_cli("guard", "audit", str(tmp_path / "run")) == 2
    assert "is no decision log of this version" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_what_is_no_run_folder_is_named(tmp_path, capsys, name):
    (tmp_path / "empty").mkdir()
    assert run_cli("guard", "audit", str(tmp_path / name)) == 2
    assert name in capsys.readouterr().err


def test_margins_are_scaled_and_nothing_else():
    guard = GuardConfig.for_scheduling()
    scaled = scaled_margins(guard, 2.0)
    before = {check.check: check for check in guard.checks}
    after = {check.check: check for check in scaled.checks}
    assert after["reservation"].margin_s == 2 * before["reservation"].margin_s
    assert after["cost-margin"].absolute_margin == 2 * before["cost-margin"].absolute_margin
    assert after["starvation"] == before["starvation"]
    assert scaled.supervisor == guard.supervisor
