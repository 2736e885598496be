"""Every command that the documentation shows is there, with every option that it is shown with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from handrail.experiments.cli.app import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHOWN = re.compile(r"^(?:\s*|.*`)(?:\.venv/bin/)?handrail ((?:[a-z]+ )*[a-z]+)\b([^`\n#]*)", flags=re.MULTILINE)


def shown(path: Path) -> list[tuple[list[str], list[str]]]:
    """Words and options of each command that a page shows."""
    found = SHOWN.findall(path.read_text(encoding="utf-8"))
    return [(words.split(), re.findall(r"(?<!\S|\[)\[?(--[a-z][a-z-]*)", rest)) for words, rest in found]


def command(words: list[str]) -> Any:
    """The command that some words lead to; what follows it are arguments."""
    at: Any = get_command(app)
    for word in words:
        if not hasattr(at, "commands"):
            break
        assert word in at.commands, f"handrail {' '.join(words)}"
        at = at.commands[word]
    return at


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_commands_and_options_are_there(path):
    for words, options in shown(path):
        known = {name for parameter in command(words).params for name in (*parameter.opts, *parameter.secondary_opts)}
        assert set(options) - {"--help"} <= known, (words, set(options) - known)


def test_there_are_commands_to_check():
    assert sum(len(shown(path)) for path in PAGES) > 40
