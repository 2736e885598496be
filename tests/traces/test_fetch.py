"""Fetching from a local server that breaks off, lies about the length, serves a wrong file, or knows no ranges."""

from __future__ import annotations

import hashlib
import http.server
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from trace_samples import AZURE

from handrail.traces import TraceError, load_trace
from handrail.traces.catalog import CATALOG, CatalogEntry, entry_named
from handrail.traces.fetch import ATTEMPTS, fetch

ROWS = 4_000
STAMPS = (f"2023-11-16 {18 + i // 3600}:{i // 60 % 60:02d}:{i % 60:02d}.{i:07d}" for i in range(ROWS))
CONTENT = "\n".join([AZURE.splitlines()[0], *(f"{s},{i + 1},{i % 90 + 1}" for i, s in enumerate(STAMPS)), ""]).encode()


@dataclass
class Behaviour:
    """What the server does; ``requests`` is what it was asked (the Range header of each request, or '')."""

    content: bytes = CONTENT
    break_after: list[int | None] = field(default_factory=list)  # bytes of each answer, in turn; None: all
    length_lie: int = 0
    ranges: bool = True
    etag: str | None = '"one"'
    status: int = 200
    chunked: bool = False
    requests: list[str] = field(default_factory=list)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        behaviour: Behaviour = self.server.behaviour  # pyright: ignore[reportAttributeAccessIssue]
        wanted = self.headers.get("Range", "")
        behaviour.requests.append(wanted)
        self.close_connection = True
        if behaviour.status != 200:
            self.send_error(behaviour.status)
            return
        body, start = behaviour.content, 0
        if wanted and behaviour.ranges and self.headers.get("If-Range") == behaviour.etag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        body = body[start:]
        if behaviour.etag:
            self.send_header("ETag", behaviour.etag)
        if behaviour.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body) + behaviour.length_lie))
        self.end_headers()
        sent = body[: behaviour.break_after.pop(0)] if behaviour.break_after else body
        if behaviour.chunked:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(sent), sent) + (b"0\r\n\r\n" if len(sent) == len(body) else b""))
        else:
            self.wfile.write(sent)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[Behaviour, CatalogEntry]]:
    behaviour = Behaviour()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.behaviour = behaviour  # pyright: ignore[reportAttributeAccessIssue]
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield behaviour, entry_at(running.server_address[1])
        running.shutdown()
        thread.join()


def entry_at(port: int) -> CatalogEntry:
    return CatalogEntry(
        name="local",
        url=f"http://127.0.0.1:{port}/local.csv",
        file_name="local.csv",
        format="azure",
        rows=(ROWS, ROWS),
        max_bytes=1_000_000,
        licence="none",
        source="a test",
    )


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_fetched_once_and_kept(server, tmp_path: Path):
    behaviour, entry = server
    seen = []
    path = fetch(entry, tmp_path / "new", progress=lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert files(path.parent) == {"local.csv", "local.csv.sha256"}
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert (path.parent / "local.csv.sha256").read_text() == f"{digest}  local.csv\n"
    assert fetch(entry, path.parent) == path
    assert len(behaviour.requests) == 1
    assert len(load_trace(path)) == ROWS


def test_resumes_where_it_broke_off(server, tmp_path: Path):
    behaviour, entry = server
    behaviour.break_after = [50_000, 30_000, None]
    assert fetch(entry, tmp_path).read_bytes() == CONTENT
    assert behaviour.requests == ["", "bytes=50000-", "bytes=80000-"]


def test_resumes_in_the_next_call(server, tmp_path: Path):
    behaviour, entry = server
    behaviour.break_after = [10_000] * ATTEMPTS
    with pytest.raises(TraceError, match=r"broke off 4 times.*40,000 bytes are kept, run it again"):
        fetch(entry, tmp_path)
    assert files(tmp_path) == {"local.csv.part", "local.csv.part.json"}
    assert fetch(entry, tmp_path).read_bytes() == CONTENT
    assert behaviour.requests[-1] == "bytes=40000-"
    assert files(tmp_path) == {"local.csv", "local.csv.sha256"}


def test_starts_over_where_the_server_knows_no_ranges(server, tmp_path: Path):
    behaviour, entry = server
    behaviour.ranges = False
    behaviour.break_after = [50_000, None]
    assert fetch(entry, tmp_path).read_bytes() == CONTENT


def test_starts_over_where_nothing_tells_that_the_file_is_the_same(server, tmp_path: Path):
    behaviour, entry = server
    behaviour.etag = None
    behaviour.break_after = [50_000, None]
    assert fetch(entry, tmp_path).read_bytes() == CONTENT
    assert behaviour.requests == ["", ""]


def test_starts_over_where_the_file_has_changed(server, tmp_path: Path):
    behaviour, entry = server
    behaviour.break_after = [50_000] * 1 + [0] * (ATTEMPTS - 1)
    with pytest.raises(TraceError, match="broke off"):
        fetch(entry, tmp_path)
    behaviour.etag = '"two"'
    behaviour.content = CONTENT.replace(b"2023", b"2024")
    assert fetch(entry, tmp_path).read_bytes() == behaviour.content


def test_part_beyond_the_end_is_thrown_away(server, tmp_path: Path):
    behaviour, entry = server
    behaviour.break_after = [50_000] + [0] * (ATTEMPTS - 1)
    with pytest.raises(TraceError, match="broke off"):
        fetch(entry, tmp_path)
    with open(tmp_path / "local.csv.part", "ab") as file:
        file.write(bytes(len(CONTENT)))
    assert fetch(entry, tmp_path).read_bytes() == CONTENT


def test_chunked_answers(server, tmp_path: Path):
    behaviour, entry = server
    behaviour.chunked = True
    behaviour.break_after = [50_000, None]
    assert fetch(entry, tmp_path).read_bytes() == CONTENT


def test_length_too_long(server, tmp_path: Path):
    behaviour, entry = server
    behaviour.length_lie = 1_000
    with pytest.raises(TraceError, match="broke off"):
        fetch(entry, tmp_path)
    assert "local.csv" not in files(tmp_path)


def test_length_too_short(server, tmp_path: Path):
    behaviour, entry = server
    behaviour.length_lie = -1_000
    with pytest.raises(TraceError, match="what came is not local"):
        fetch(entry, tmp_path)
    assert files(tmp_path) == set()


@pytest.mark.parametrize(
    "content",
    [b"<html>sign in</html>", b"", CONTENT[:-30], CONTENT.replace(b"ContextTokens", b"Tokens"), b"\x1f\x8b\x00"],
)
def test_wrong_file(content: bytes, server, tmp_path: Path):
    behaviour, entry = server
    behaviour.content = content
    with pytest.raises(TraceError, match=r"local\.csv: what came is not local") as caught:
        fetch(entry, tmp_path)
    assert ".part" not in str(caught.value)
    assert files(tmp_path) == set()


def test_other_format_of_as_many_rows(server, tmp_path: Path):
    behaviour, entry = server
    rows = "".join(f"{i},1,1\n" for i in range(ROWS))
    behaviour.content = f"arrival_s,prompt_tokens,output_tokens\n{rows}".encode()
    with pytest.raises(TraceError, match=r"4,000 rows of format generic, expected 4,000 of format azure"):
        fetch(entry, tmp_path)


def test_size_cap_by_the_announced_and_the_true_length(server, tmp_path: Path):
    behaviour, entry = server
    for chunked in (False, True):
        behaviour.chunked = chunked
        with pytest.raises(TraceError, match="larger than 20,000 bytes"):
            fetch(replace(entry, max_bytes=20_000), tmp_path)
        assert files(tmp_path) == set()


def test_known_checksum(server, tmp_path: Path):
    _, entry = server
    right, other = hashlib.sha256(CONTENT).hexdigest(), "0" * 64
    with pytest.raises(TraceError, match="checksum"):
        fetch(replace(entry, sha256=(other,)), tmp_path)
    assert files(tmp_path) == set()
    assert fetch(replace(entry, sha256=(other, right)), tmp_path).read_bytes() == CONTENT


def test_content_that_differs_from_the_first_fetch(server, tmp_path: Path):
    behaviour, entry = server
    path = fetch(entry, tmp_path)
    path.unlink()
    behaviour.content = CONTENT.replace(b"2023", b"2024")
    with pytest.raises(TraceError, match=r"differs from that of an earlier fetch.*--force"):
        fetch(entry, tmp_path)
    assert fetch(entry, tmp_path, force=True).read_bytes() == behaviour.content


def test_file_changed_on_disk(server, tmp_path: Path):
    _, entry = server
    path = fetch(entry, tmp_path)
    path.write_bytes(CONTENT[:-5])
    with pytest.raises(TraceError, match=r"has changed since it was fetched.*--force"):
        fetch(entry, tmp_path)
    assert fetch(entry, tmp_path, force=True).read_bytes() == CONTENT


def test_file_put_there_by_hand_is_checked(server, tmp_path: Path):
    behaviour, entry = server
    (tmp_path / "local.csv").write_bytes(CONTENT)
    fetch(entry, tmp_path)
    assert behaviour.requests == []
    assert files(tmp_path) == {"local.csv", "local.csv.sha256"}


def test_server_says_no(server, tmp_path: Path):
    behaviour, entry = server
    behaviour.status = 404
    with pytest.raises(TraceError, match=r"answered 404.*may have moved"):
        fetch(entry, tmp_path)
    assert len(behaviour.requests) == 1
    behaviour.status = 503
    with pytest.raises(TraceError, match=r"broke off 4 times \(the server answered 503\)"):
        fetch(entry, tmp_path)


def test_offline(tmp_path: Path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        entry = entry_at(unused.getsockname()[1])
        with pytest.raises(TraceError, match=r"cannot be reached.*offline.*put it at .*local\.csv"):
            fetch(entry, tmp_path)


def test_folder_that_cannot_be_made(server, tmp_path: Path):
    _, entry = server
    (tmp_path / "file").write_text("")
    with pytest.raises(TraceError, match=r"cannot be written.*--dir"):
        fetch(entry, tmp_path / "file")


def test_catalog():
    assert set(CATALOG) == {
        *("burstgpt-1", "burstgpt-2", "burstgpt-3", "azure-2023-conv", "azure-2023-code", "mooncake-conversation")
    }
    assert len({entry.file_name for entry in CATALOG.values()}) == len(CATALOG)
    for entry in CATALOG.values():
        assert entry.url.startswith("https://github.com/")
        assert entry.rows[0] <= entry.rows[1]
    with pytest.raises(TraceError, match=r"no trace of that name.*burstgpt-1"):
        entry_named("burstgpt")
