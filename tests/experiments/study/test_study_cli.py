"""What ``handrail study guard`` refuses, in one line."""

from __future__ import annotations

import pytest

from handrail.experiments.cli import main


def refused(capsys, *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["study", "guard", *words])
    assert ended.value.code == 2
    complaint = capsys.readouterr().err.strip()
    assert complaint.count("\n") == 0
    return complaint


def test_two_matrices_are_one_too_many(capsys, tmp_path):
    assert "--quick and --config" in refused(capsys, "--quick", "--config", str(tmp_path / "x.yaml"))


def test_an_unknown_domain_is_named(capsys, tmp_path):
    complaint = refused(capsys, "--quick", "--only", "disks", "--out", str(tmp_path / "out"))
    assert "'disks'" in complaint
    assert "prefetch" in complaint


def test_a_config_that_is_not_there_is_named(capsys, tmp_path):
    assert "nowhere.yaml: cannot be read" in refused(capsys, "--config", str(tmp_path / "nowhere.yaml"))


def test_nothing_to_report_is_said(capsys, tmp_path):
    out = tmp_path / "out"
    given = ("--quick", "--only", "llm", "--report-only", "-q", "--data", str(tmp_path), "--out", str(out))
    assert "--report-only: there is no study folder" in refused(capsys, *given)
    assert not out.exists()
    out.mkdir()
    complaint = refused(capsys, *given)
    assert "no cell of the study is complete" in complaint
