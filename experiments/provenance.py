"""What a result was made with: versions and a digest of the code that can change it."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib import metadata
from pathlib import Path

PACKAGES = ("handrail", "simpy", "numpy", "pandas", "pyarrow", "pydantic", "matplotlib")
"""Distributions whose version can change a number or a byte of a run folder."""

SOURCE_FOLDERS = ("traces", "envs", "policies", "experiments")
SOURCE_SUFFIXES = (".py", ".json")


def versions() -> dict[str, str]:
    """Version of Python and of each of ``PACKAGES``."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}}


@cache
def source_hash() -> str:
    """SHA-256 (hex) over the installed sources and profiles of handrail, by relative path and content."""
    from .. import envs, experiments, policies, traces

    digest = hashlib.sha256(b"handrail sources 1")
    for name, package in zip(SOURCE_FOLDERS, (traces, envs, policies, experiments), strict=True):
        folder = Path(package.__path__[0])
        for path in sorted(p for p in folder.rglob("*") if p.suffix in SOURCE_SUFFIXES):
            digest.update(f"\n{name}/{path.relative_to(folder).as_posix()}\n".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
