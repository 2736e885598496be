"""The README's Python runs as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def test_the_policy_example_runs():
    (block,) = [b for b in re.findall(r"```python\n(.*?)```", README, re.S) if "class LeastPrefill" in b]
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "'p99'" in done.stdout


def test_the_training_example_names_what_is_registered():
    pytest.importorskip("stable_baselines3")
    import gymnasium as gym

    (block,) = [b for b in re.findall(r"```python\n(.*?)```", README, re.S) if "PPO" in b]
    name = re.search(r'gym\.make\("([^"]+)"\)', block).group(1)
    assert gym.make(name).action_space.n == 4
