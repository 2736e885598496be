"""The check that the documentation writes works as it says."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from guard_stand import LAYOUT, Fixed, drive, observe

from handrail.policies.guards import GuardedPolicy

PAGE = Path(__file__).parents[3] / "docs" / "guards.md"


def test_the_example_check_runs_in_a_guard(tmp_path: Path):
    if not PAGE.is_file():
        pytest.skip("the documentation is not beside the tests")
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    example = tmp_path / "up_only.py"
    example.write_text(next(block for block in blocks if "class UpOnly" in block), encoding="utf-8")
    guard = runpy.run_path(str(example))["guard_for"](LAYOUT)  # as it stands: the page gives every import
    guarded = GuardedPolicy(Fixed(1), Fixed(0), guard, LAYOUT)
    assert drive(guarded, 1, observation=observe(up=[1, 0, 1, 1])) == [0]
    assert drive(guarded, 1, observation=observe(up=[1, 1, 1, 1])) == [0, 1]
    assert guarded.interventions == {"replica-down": 1}
