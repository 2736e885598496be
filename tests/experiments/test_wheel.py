"""A wheel, installed outside the repository, does the main job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_compare_runs_from_an_installed_wheel(tmp_path):
    source = tmp_path / "source"
    tracked = ["traces", "envs", "policies", "experiments", "pyproject.toml", "README.md", "LICENSE"]
    source.mkdir()
    for name in tracked:
        subprocess.run(["cp", "-r", str(REPOSITORY / name), str(source / name)], check=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(source)], check=True
    )
    (wheel,) = tmp_path.glob("handrail-*.whl")
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    site = Path(
        subprocess.run(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    )
    subprocess.run([*pip, "install", "-q", "--no-deps", "--target", str(site), str(wheel)], check=True)
    # Dependencies come from the test's own environment, without its editable install of the repository.
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if "handrail" not in entry.name and entry.suffix != ".pth":
            (libraries / entry.name).symlink_to(entry)
    environment = {
        **{key: value for key, value in os.environ.items() if key != "PYTHONHOME"},
        "PYTHONPATH": str(libraries),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    words = ["compare", "--window", "0:300", "--rate", "20", "--load-by", "superpose", "--json", "--out", "run"]
    command = [python, "-c", "from handrail.experiments.cli import main; main()", *words]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) >= {"fallback", "unguarded", "guarded"}
    assert (tmp_path / "run" / "figure.png").is_file()
    where = [python, "-c", "import handrail.experiments as e; print(e.__path__[0])"]
    found = subprocess.run(where, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.startswith(str(home))
