"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with real traces and reference results: ``$HANDRAIL_DATA``, else ``../shared`` beside the repository."""
    folder = Path(os.environ.get("HANDRAIL_DATA", REPOSITORY.parent / "shared"))
    if not (folder / "traces").is_dir():
        pytest.skip(f"needs real traces, and {folder} is not there; HANDRAIL_DATA names the folder that has them")
    return folder
