"""The prefetcher that the docs add works as they say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


def test_the_example_of_the_docs_suggests_the_ids_before():
    text = (Path(__file__).parents[3] / "docs" / "prefetch.md").read_text(encoding="utf-8")
    (example,) = [
        block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "class PreviousLine" in block
    ]
    names: dict[str, Any] = {"__name__": "handrail.envs.prefetch.prefetchers.previous_line"}
    exec(example, names)  # the project's own page; its relative import needs the name of a module in that package
    prefetcher = names["PreviousLine"](degree=3)
    assert prefetcher.access(10, hit=False) == (9, 8, 7)
    assert prefetcher.access(1, hit=True) == (0,)
    assert prefetcher.access(0, hit=False) == ()
