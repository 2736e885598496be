"""Writing a run folder: everything of it, or nothing, and never over somebody else's files."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...traces.errors import HandrailError

MARKER_FILE = "run.json"
MARKER_KEY = "handrail"


def dump_json(content: Any) -> bytes:
    """JSON as run folders hold it: sorted keys, no NaN or infinity, one trailing newline."""
    return (json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def dump_parquet(columns: Mapping[str, Any]) -> bytes:
    """A Parquet file of equally long columns (NumPy arrays or lists), the same bytes for the same columns."""
    import pyarrow as pa

    return dump_table(pa.table(dict(columns)))


def dump_table(table: Any) -> bytes:
    """A Parquet file of an Arrow table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def check_replaceable(folder: Path) -> None:
    """Refuse, before any work, a path that a run folder must not replace or cannot be written to.

    Raises:
        HandrailError: It is a file, a folder with anything in it that is no run folder, or a place without access.
    """
    if folder.exists():
        if not folder.is_dir():
            raise HandrailError(f"--out {folder}: a file of that name is in the way; choose another folder")
        if any(folder.iterdir()) and not _is_run_folder(folder):
            raise HandrailError(f"--out {folder}: the folder holds something else than a handrail run; choose another")
    check_writable(folder)


def check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be made or written beside; nothing is left behind but its parents.

    Raises:
        HandrailError: It cannot.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent):
            pass
    except OSError as error:
        raise HandrailError(f"--out {folder}: cannot be written ({error.strerror}); choose another folder") from None


def write_run_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write ``files`` (contents by name, ``run.json`` among them) as ``folder``, replacing an earlier run there.

    The files are written beside it first; then the folder is moved into place.

    Raises:
        HandrailError: The folder holds something else, or cannot be written.
    """
    check_replaceable(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise HandrailError(f"--out {folder}: cannot be written ({error.strerror}); choose another folder") from None
    try:
        fresh = staging / "new"
        fresh.mkdir()
        for name, content in files.items():
            (fresh / name).write_bytes(content)
        if folder.exists():
            os.replace(folder, staging / "old")
        try:
            os.replace(fresh, folder)
        except OSError:
            if (staging / "old").exists():
                os.replace(staging / "old", folder)
            raise
    except OSError as error:
        raise HandrailError(f"--out {folder}: cannot be written ({error.strerror}); choose another folder") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _is_run_folder(folder: Path) -> bool:
    try:
        content = json.loads((folder / MARKER_FILE).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and MARKER_KEY in content
