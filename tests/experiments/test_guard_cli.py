"""``handrail guard``: explain, log and show on a real run folder, and every mistake in one line."""

from __future__ import annotations

import csv
import json

import pytest
from experiment_fakes import small_trace

from handrail.experiments.cli import main
from handrail.experiments.compare import compare
from handrail.experiments.domains.llm import LLMScenario
from handrail.experiments.report.run_folder import write_run_folder
from handrail.policies.guards import GuardConfig


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("runs") / "run"
    write_run_folder(where, compare(small_trace(), LLMScenario(replicas="h100:1,a100:1"), "sabotage:worst").files())
    return where


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def run(capfd, *arguments):
    """Exit code, stdout and stderr of one command."""
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    captured = capfd.readouterr()
    return end.value.code, captured.out, captured.err


def test_explain_tells_the_moment(capfd, folder):
    code, out, err = run(capfd, "guard", "explain", folder, "--at", "2.5")
    assert (code, err) == (0, "")
    begins = [line.split(":")[0].split(" ")[0] for line in out.splitlines() if not line.startswith(" ")]
    assert begins == ["decision", "observed", "proposed", "fallback", "checks", "executed", "supervisor", "came"]
    code, out, _ = run(capfd, "guard", "explain", folder, "--at", "2.5", "--json")
    story = json.loads(out)
    assert code == 0
    assert story["now_s"] <= 2.5
    assert {"proposed", "said", "executed", "supervisor", "outcome"} <= set(story)


def test_log_lists_what_fits(capfd, folder):
    code, out, _ = run(capfd, "guard", "log", folder, "--who", "fallback", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["found"] == len(found["rows"]) > 0
    assert {row["who"] for row in found["rows"]} == {"fallback"}
    options = ("--check", "cost-margin:ttft_s", "--verdict", "veto", "--from", "1", "--to", "4", "--limit", "2")
    _, out, _ = run(capfd, "guard", "log", folder, *options, "--json")
    rows = json.loads(out)["rows"]
    assert len(rows) == 2
    assert all(1 <= row["now_s"] <= 4 for row in rows)
    code, out, _ = run(capfd, "guard", "log", folder, *options)
    assert code == 0
    assert "ttft-s-over-margin" in out
    assert out.splitlines()[-1].startswith("2 of ")


def test_log_as_csv(capfd, folder, tmp_path):
    path = tmp_path / "log.csv"
    code, out, _ = run(capfd, "guard", "log", folder, "--limit", "7", "--csv", path)
    assert code == 0
    assert "7 of" in out
    rows = list(csv.DictReader(path.open()))
    assert [row["decision"] for row in rows] == [str(i) for i in range(7)]
    assert "contract accept ok" in rows[0]["said"]


@pytest.mark.parametrize("domain", ["llm", "cluster", "prefetch"])
def test_show_has_the_checks_of_each_domains_guard(capfd, domain):
    code, out, err = run(capfd, "guard", "show", "--domain", domain, "--json")
    assert (code, err) == (0, "")
    sheet = json.loads(out)
    assert {"contract", "breaker", "plausibility"} <= {check["name"] for check in sheet["checks"]}
    stages = [check["stage"] for check in sheet["checks"]]
    assert stages == sorted(stages, key=("sensors", "outcomes", "proposal").index)
    code, out, _ = run(capfd, "guard", "show", "--domain", domain)
    assert code == 0
    assert "min_dwell_s" in out


def test_show_reads_a_file(capfd, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(GuardConfig().to_yaml())
    code, out, _ = run(capfd, "guard", "show", "--guard", path, "--json")
    assert code == 0
    assert [check["name"] for check in json.loads(out)["checks"]] == ["contract"]


def test_what_show_writes_as_yaml_is_the_guard(capfd, tmp_path):
    code, out, _ = run(capfd, "guard", "show", "--domain", "cluster", "--yaml")
    assert code == 0
    (tmp_path / "guard.yaml").write_text(out)
    sheets = [
        json.loads(run(capfd, "guard", "show", "--domain", "cluster", *more, "--json")[1])
        for more in ((), ("--guard", tmp_path / "guard.yaml"))
    ]
    assert sheets[0] == sheets[1]


MISTAKES = [
    (["explain", "nowhere", "--at", "1"], "nowhere: there is no such run folder"),
    (["explain", ".", "--at", "1"], "this is no run folder"),
    (["explain", "RUN"], "--at"),
    (["explain", "RUN", "--at", "1e9"], "--at 1e+09: the run goes from"),
    (["log", "RUN", "--who", "nobody"], "--who nobody: does not occur in this log"),
    (["log", "RUN", "--limit", "0"], "--limit"),
    (["log", "RUN", "--json", "--csv", "x.csv"], "give one"),
    (["log", "RUN", "--csv", "no/such/place.csv"], "cannot be written"),
    (["show", "--domain", "disks"], "disks"),
    (["show", "--guard", "nowhere.yaml"], "cannot be read"),
    (["show", "--json", "--yaml"], "give one"),
]


@pytest.mark.parametrize(("arguments", "complaint"), MISTAKES, ids=[" ".join(row[0]) for row in MISTAKES])
def test_mistakes_end_in_one_line(capfd, folder, arguments, complaint):
    code, out, err = run(capfd, "guard", *[folder if word == "RUN" else word for word in arguments])
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert complaint in err
