"""Fetching a public trace: resumable, capped in size, checked before it gets its name.

A download grows in ``FILE.part`` (with the server's validator in ``FILE.part.json``) and is renamed to ``FILE`` only
when its checksum, or where none is known its content, is right. ``FILE.sha256`` then holds the checksum.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .catalog import CatalogEntry, data_folder
from .errors import TraceError
from .llm.load import load_trace

ATTEMPTS = 4
TIMEOUT_S = 30.0
_CHUNK_BYTES = 256 * 1024

Progress = Callable[[int, int | None], None]


def fetch(
    entry: CatalogEntry,
    folder: str | Path | None = None,
    *,
    force: bool = False,
    timeout_s: float = TIMEOUT_S,
    progress: Progress | None = None,
) -> Path:
    """Bring a trace into ``folder`` (by default ``data_folder()``) and return its path.

    What is there already and still has its checksum is left alone. A connection that breaks off is taken up again where
    it stopped, at most three times in one call and again in the next.

    Args:
        entry: What to fetch.
        folder: Where to keep it; made where it does not exist.
        force: Fetch again, and accept content that differs from what an earlier fetch recorded.
        timeout_s: Seconds without a byte after which a connection counts as broken.
        progress: Called with the bytes so far and in all (``None`` where the server does not say).

    Raises:
        TraceError: Offline, refused by the server, broken off, too large, a checksum or content that is not that of the
            trace, or a folder that cannot be written to.
    """
    target = Path(folder) if folder is not None else data_folder()
    target = target / entry.file_name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not force:
            _check_kept(entry, target)
            return target
        part = _Part(entry, target)
        if force:
            part.discard()
        _download(entry, part, timeout_s, progress)
        digest = file_sha256(part.path)
        try:
            _check_fetched(entry, part.path, digest, None if force else _recorded(target))
        except TraceError:
            part.discard()
            raise
        _record(target, digest)
        os.replace(part.path, target)
        part.discard()
    except OSError as error:
        raise TraceError(f"{target}: cannot be written ({error.strerror or error}); choose another --dir") from None
    return target


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass
class _Part:
    """The download so far."""

    entry: CatalogEntry
    target: Path

    @property
    def path(self) -> Path:
        return self.target.with_name(self.target.name + ".part")

    @property
    def _state_path(self) -> Path:
        return self.target.with_name(self.target.name + ".part.json")

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def validator(self) -> str | None:
        """What tells that the server still has the same file: a strong ETag or a date; ``None`` where nothing does."""
        try:
            state = json.loads(self._state_path.read_text("utf-8"))
        except (OSError, ValueError):
            return None
        if not isinstance(state, dict) or state.get("url") != self.entry.url:
            return None
        validator = state.get("validator")
        return validator if isinstance(validator, str) else None

    def remember(self, validator: str | None) -> None:
        self._state_path.write_text(json.dumps({"url": self.entry.url, "validator": validator}), "utf-8")

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self._state_path.unlink(missing_ok=True)


class _BrokenOff(Exception):
    """The connection ended before the file did; what came is kept."""


def _download(entry: CatalogEntry, part: _Part, timeout_s: float, progress: Progress | None) -> None:
    problem = ""
    for _ in range(ATTEMPTS):
        try:
            _attempt(entry, part, timeout_s, progress)
            return
        except _BrokenOff as broken:
            problem = str(broken)
    kept = f"{part.size():,} bytes are kept" if part.validator() else "the server cannot resume"
    raise TraceError(f"{entry.url}: the connection broke off {ATTEMPTS} times ({problem}); {kept}, run it again")


def _attempt(entry: CatalogEntry, part: _Part, timeout_s: float, progress: Progress | None) -> None:
    have, validator = part.size(), part.validator()
    headers = {"User-Agent": "handrail", "Accept-Encoding": "identity"}
    if have and validator:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    try:
        response = urllib.request.urlopen(urllib.request.Request(entry.url, headers=headers), timeout=timeout_s)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            part.discard()
            raise _BrokenOff("the server has less than was kept: starting over") from None
        if error.code >= 500:
            raise _BrokenOff(f"the server answered {error.code}") from None
        raise TraceError(
            f"{entry.url}: the server answered {error.code} ({error.reason}); the file may have moved"
        ) from None
    except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise _BrokenOff(str(error) or type(error).__name__) from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, ConnectionResetError | TimeoutError):
            raise _BrokenOff(str(error.reason)) from None
        raise TraceError(
            f"{entry.url}: cannot be reached ({error.reason}); if this machine is offline, download it elsewhere and "
            f"put it at {part.target}"
        ) from None
    with response:
        _receive(entry, part, response, progress)


def _receive(entry: CatalogEntry, part: _Part, response: Any, progress: Progress | None) -> None:
    start, total = 0, _length(response.headers.get("Content-Length"))
    if response.status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if match is None or int(match.group(1)) != part.size():
            part.discard()
            raise _BrokenOff("the server resumed at another place: starting over")
        start = part.size()
        total = int(match.group(2)) if match.group(2) != "*" else (None if total is None else start + total)
    if total is not None and total > entry.max_bytes:
        raise _too_large(entry, part)
    etag, date = response.headers.get("ETag"), response.headers.get("Last-Modified")
    part.remember(etag if etag and not etag.startswith("W/") else date)

    received = start
    with open(part.path, "ab" if start else "wb") as file:
        while True:
            try:
                chunk = response.read(_CHUNK_BYTES)
            except http.client.IncompleteRead as broken:
                chunk, total = broken.partial, total if total is not None else received + len(broken.partial) + 1
            except (http.client.HTTPException, OSError) as error:
                raise _BrokenOff(f"after {received:,} bytes: {str(error) or type(error).__name__}") from None
            if not chunk:
                break
            received += len(chunk)
            if received > entry.max_bytes:
                raise _too_large(entry, part)
            file.write(chunk)
            if progress is not None:
                progress(received, total)
    if total is not None and received != total:
        if received > total:
            part.discard()
        raise _BrokenOff(f"{received:,} bytes of {total:,}")


def _length(header: str | None) -> int | None:
    return int(header) if header is not None and header.isdigit() else None


def _too_large(entry: CatalogEntry, part: _Part) -> TraceError:
    part.discard()
    return TraceError(
        f"{entry.url}: larger than {entry.max_bytes:,} bytes, more than {entry.name} can be; "
        "the file behind the address has changed"
    )


def _check_fetched(entry: CatalogEntry, path: Path, digest: str, recorded: str | None) -> None:
    """Refuse what is not the trace: by checksum where one is known, else by format and number of rows."""
    if entry.sha256:
        if digest not in entry.sha256:
            raise TraceError(f"{entry.url}: the checksum {digest[:12]}... is not that of {entry.name}; try again later")
        return
    if recorded is not None and recorded != digest:
        raise TraceError(
            f"{entry.url}: the content differs from that of an earlier fetch ({entry.file_name}.sha256); "
            "--force accepts it"
        )
    try:
        trace = load_trace(path, failures="keep", spread_seed=None, max_bytes=entry.max_bytes)
    except TraceError as error:
        raise TraceError(f"{entry.url}: what came is not {entry.name} ({_without_path(error, path)})") from None
    rows, (fewest, most) = trace.notes["rows"], entry.rows
    if trace.notes["format"] != entry.format or not fewest <= rows <= most:
        raise TraceError(
            f"{entry.url}: what came is not {entry.name}: {rows:,} rows of format {trace.notes['format']}, expected "
            f"{fewest:,}{f' to {most:,}' if most > fewest else ''} of format {entry.format}"
        )


def _check_kept(entry: CatalogEntry, target: Path) -> None:
    digest, recorded = file_sha256(target), _recorded(target)
    if digest in entry.sha256 or (not entry.sha256 and digest == recorded):
        return
    if recorded is None and not entry.sha256:  # put there by hand
        _check_fetched(entry, target, digest, None)
        _record(target, digest)
        return
    raise TraceError(f"{target}: has changed since it was fetched; fetch it again with --force")


def _checksum_path(target: Path) -> Path:
    return target.with_name(target.name + ".sha256")


def _record(target: Path, digest: str) -> None:
    _checksum_path(target).write_text(f"{digest}  {target.name}\n", "utf-8")


def _recorded(target: Path) -> str | None:
    try:
        words = _checksum_path(target).read_text("utf-8").split()
    except (OSError, UnicodeDecodeError):
        return None
    return words[0] if words else None


def _without_path(error: TraceError, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")
