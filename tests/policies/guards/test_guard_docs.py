"""The check that the documentation writes works as it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from guard_stand import LAYOUT, Fixed, drive, observe

from handrail.policies.guards import ContractConfig, Guard, GuardedPolicy, SupervisorConfig, Verdict
from handrail.policies.guards.checks import ContractCheck

PAGE = Path(__file__).parents[3] / "docs" / "guards.md"


def test_the_example_check_runs_in_a_guard():
    if not PAGE.is_file():
        pytest.skip("the documentation is not beside the tests")
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    names = {"Verdict": Verdict, "Guard": Guard, "ContractCheck": ContractCheck, "ContractConfig": ContractConfig}
    exec(next(block for block in blocks if "class UpOnly" in block), names)
    line = re.search(r"`(Guard\(.*?latency_budget_s=1e-3\))`", PAGE.read_text(encoding="utf-8"))
    assert line is not None
    guard = eval(line.group(1), names | {"layout": LAYOUT, "SupervisorConfig": SupervisorConfig})
    guarded = GuardedPolicy(Fixed(1), Fixed(0), guard, LAYOUT)
    assert drive(guarded, 1, observation=observe(up=[1, 0, 1, 1])) == [0]
    assert drive(guarded, 1, observation=observe(up=[1, 1, 1, 1])) == [0, 1]
    assert guarded.interventions == {"replica-down": 1}
