"""One file a run: written whole or not at all, found again by a hash of everything that it depends on."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...traces.errors import HandrailError

SOURCES = ("traces", "envs", "policies")
EXPERIMENT_SOURCES = ("replay.py", "guarding.py", "rescale.py", "load.py", "load_jobs.py", "load_accesses.py")
EXPERIMENT_FOLDERS = ("domains", "scenarios")
STUDY_SOURCES = ("arms.py", "measure.py", "mix.py", "nulls.py", "realise.py", "replays.py", "stressed.py", "guards.py")
SUFFIXES = (".py", ".json", ".safetensors")


@cache
def sources_sha256() -> str:
    """SHA-256 of the code and policies that a run depends on; how runs are evaluated and shown is not among it."""
    from ... import envs, experiments, policies, traces

    packages = dict(zip(SOURCES, (traces, envs, policies), strict=True))
    found = {f"{name}": Path(package.__path__[0]) for name, package in packages.items()}
    root = Path(experiments.__path__[0])
    paths = [p for folder in found.values() for p in folder.rglob("*") if p.suffix in SUFFIXES]
    paths += [p for name in EXPERIMENT_FOLDERS for p in (root / name).rglob("*.py")]
    paths += [root / name for name in EXPERIMENT_SOURCES] + [root / "study" / name for name in STUDY_SOURCES]
    digest = hashlib.sha256(b"handrail study sources 1")
    for path in sorted(p for p in paths if p.is_file()):
        digest.update(f"\n{path.parent.name}/{path.name}\n".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def key_of(depends_on: Mapping[str, Any]) -> str:
    """A short name for something that depends on ``depends_on``."""
    content = json.dumps(depends_on, sort_keys=True, allow_nan=False)
    return hashlib.sha256(content.encode()).hexdigest()[:24]


class Store:
    """Runs in a folder: ``KEY.npz`` holds arrays and, as one of them, a JSON text; ``KEY.time.json`` wall-clock times.

    Args:
        folder: Where; made when first written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, key: str) -> bool:
        """Whether that run is there."""
        return self._path(key).is_file()

    def write(
        self, key: str, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], timing: Mapping[str, Any]
    ) -> None:
        """Keep a run; times come first, so that a run that is there has them.

        Raises:
            HandrailError: The folder cannot be written to.
        """
        text = json.dumps(facts, sort_keys=True, allow_nan=False)
        sink = io.BytesIO()
        content: dict[str, Any] = {"facts": np.frombuffer(text.encode(), dtype=np.uint8), **arrays}
        np.savez(sink, **content)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._put(self.folder / f"{key}.time.json", json.dumps(timing, sort_keys=True).encode())
            self._put(self._path(key), sink.getvalue())
        except OSError as error:
            raise HandrailError(f"--out {self.folder}: cannot be written ({error.strerror}); choose another") from None

    def read(self, key: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Facts and arrays of a run.

        Raises:
            HandrailError: It is not there, or cannot be read.
        """
        path = self._path(key)
        try:
            with np.load(path, allow_pickle=False) as content:
                arrays = {name: content[name] for name in content.files}
        except (OSError, ValueError) as error:
            raise HandrailError(f"{path}: cannot be read ({error}); remove it and run again") from None
        return json.loads(arrays.pop("facts").tobytes()), arrays

    def facts(self, key: str) -> dict[str, Any]:
        """The facts alone."""
        with np.load(self._path(key), allow_pickle=False) as content:
            return json.loads(content["facts"].tobytes())

    def timing(self, key: str) -> dict[str, Any]:
        """Wall-clock times of a run; empty where they are not there."""
        path = self.folder / f"{key}.time.json"
        return json.loads(path.read_bytes()) if path.is_file() else {}

    def remember(self, name: str, text: str) -> None:
        """Keep a line of text beside the runs.

        Raises:
            HandrailError: The folder cannot be written to.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._put(self.folder / name, f"{text}\n".encode())
        except OSError as error:
            raise HandrailError(f"--out {self.folder}: cannot be written ({error.strerror}); choose another") from None

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.npz"

    def _put(self, path: Path, content: bytes) -> None:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
