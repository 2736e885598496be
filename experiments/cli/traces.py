"""``handrail traces``: list, describe, generate, fetch and convert."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from ...traces.errors import HandrailError
from .options import Json, Map, Quiet, Sort
from .output import print_json, remarks, stdout_console

if TYPE_CHECKING:
    from ...traces import RequestTrace
    from ...traces.llm.describe import ColumnDistance, TraceSummary

app = typer.Typer(help="List, describe, generate, fetch and convert request traces.", no_args_is_help=True)

Failures = Annotated[str, typer.Option(help="Failed requests (0 output tokens).", metavar="drop|keep|retry")]
Format = Annotated[
    str, typer.Option(help="Told by content unless given.", metavar="auto|burstgpt|azure|mooncake|generic")
]
SpreadSeed = Annotated[int, typer.Option(help="Seed that spreads coarse stamps; -1 leaves them as they are.")]
MaxRows = Annotated[int | None, typer.Option(help="Refuse a file with more requests.")]
MaxBytes = Annotated[int | None, typer.Option(help="Refuse a file with more bytes, unpacked.")]


Force = Annotated[bool, typer.Option("--force", help="Replace a file that is there already.")]


@app.command("list")
def list_traces(json_output: Json = False, quiet: Quiet = False) -> None:
    """Show the traces known by name, and which of them are here."""
    from ...traces.catalog import CATALOG, data_folder
    from ...traces.llm.load import BUNDLED, BUNDLED_PATH

    rows: list[dict[str, Any]] = [
        {"name": BUNDLED, "here": True, "licence": "Apache-2.0", "source": "generated, see docs/traces.md"}
    ]
    paths = [BUNDLED_PATH]
    for entry in CATALOG.values():
        path = data_folder() / entry.file_name
        rows.append({"name": entry.name, "here": path.exists(), "licence": entry.licence, "source": entry.source})
        paths.append(path)
    if json_output:
        print_json({"traces": [{**row, "path": str(path)} for row, path in zip(rows, paths, strict=True)]})
        return
    table = Table(box=None)
    for heading in ("name", "here", "licence", "source"):
        table.add_column(heading)
    for row in rows:
        here = "yes" if row["here"] else f"no: handrail traces fetch {row['name']}"
        table.add_row(row["name"], here, row["licence"], row["source"])
    stdout_console().print(table)


@app.command()
def describe(
    a: Annotated[str, typer.Argument(help="Trace file or name.", metavar="A")],
    b: Annotated[str | None, typer.Argument(help="A second trace, to compare with the first.", metavar="[B]")] = None,
    failures: Failures = "drop",
    map_columns: Map = None,
    format: Format = "auto",
    spread_seed: SpreadSeed = 0,
    sort: Sort = False,
    max_rows: MaxRows = None,
    max_bytes: MaxBytes = None,
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print rate, burstiness, lengths and correlation of a trace, or how far two are apart."""
    from ...traces.llm.describe import compare_traces
    from ...traces.llm.describe import describe as summarise

    names = [a] if b is None else [a, b]
    with remarks(quiet) as shown:
        traces = []
        for name in names:
            shown.say(f"reading {name}")
            traces.append(_load(name, failures, map_columns, format, spread_seed, sort, max_rows, max_bytes))
        summaries = [summarise(trace) for trace in traces]
        distances = compare_traces(*traces) if b is not None else {}
    described = [
        {"trace": name, **summary.to_json(), "notes": dict(trace.notes)}
        for name, summary, trace in zip(names, summaries, traces, strict=True)
    ]
    if json_output and b is None:
        print_json(described[0])
    elif json_output:
        columns = {column: asdict(distance) for column, distance in distances.items()}
        print_json({"a": described[0], "b": described[1], "distances": columns})
    else:
        stdout_console().print(_summary_table(names, traces, summaries))
        if distances:
            stdout_console().print(_distance_table(distances))


@app.command()
def generate(
    out: Annotated[Path, typer.Argument(help="File to write: .csv, .csv.gz or .parquet.", metavar="OUT")],
    config: Annotated[
        Path | None, typer.Option(help="Parameters as JSON, such as a generated trace's own .json.", metavar="FILE")
    ] = None,
    set_values: Annotated[
        list[str] | None,
        typer.Option("--set", help="One parameter, such as rate_per_s=2; goes over --config.", metavar="NAME=VALUE"),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed; by default that of --config, else 0.")] = None,
    force: Force = False,
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Draw a BurstGPT-like trace; its parameters are written beside it as JSON."""
    from ...traces.llm.generator import generate as draw
    from ...traces.llm.generator_config import parse_config
    from ...traces.llm.write import check_free, check_suffix, write_atomically, write_trace

    stem = check_suffix(out)
    beside = out.with_name(f"{stem}.json")
    check_free(out, force=force)
    check_free(beside, force=force, source=config)
    values, config_seed = _parameters(config)
    for item in set_values or []:
        name, equals, value = item.partition("=")
        if not (name and equals):
            raise HandrailError(f"--set {item!r} is not NAME=VALUE, as in rate_per_s=2")
        values[name] = _json_or_text(value)
    parameters = parse_config(values, str(config) if config is not None and not set_values else "--set")
    chosen = config_seed if seed is None else seed
    with remarks(quiet) as shown:
        shown.say(f"drawing about {parameters.rate_per_s * parameters.duration_s:,.0f} requests")
        trace = draw(parameters, chosen)
        shown.say(f"writing {out}")
        write_trace(trace, out)
    record = {
        "generator": "burstgpt-like",
        "seed": chosen,
        "parameters": parameters.model_dump(mode="json"),
        "requests": len(trace),
        "failed": trace.notes["failed"],
        "content_hash": trace.content_hash,
    }
    text = json.dumps(record, indent=2) + "\n"
    write_atomically(beside, lambda file: file.write(text.encode()))
    if json_output:
        print_json({"out": str(out), **record})
    elif not quiet:
        stdout_console().print(
            f"{out}: {len(trace):,} requests in {trace.duration_s:,.0f} s, {record['failed']:,} failed"
        )


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="Name from `handrail traces list`.", metavar="NAME")],
    folder: Annotated[Path | None, typer.Option("--dir", help="Where to keep it.", metavar="FOLDER")] = None,
    force: Annotated[bool, typer.Option("--force", help="Fetch again, accept changed content.")] = False,
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fetch a public trace: resumes where it stopped, checks what came."""
    from ...traces.catalog import entry_named
    from ...traces.fetch import fetch as download
    from ...traces.fetch import file_sha256

    entry = entry_named(name)
    with remarks(quiet) as shown:
        shown.say(f"fetching {name}")
        path = download(
            entry,
            folder,
            force=force,
            progress=lambda done, total: shown.progress(done, entry.max_bytes if total is None else total),
        )
    if json_output:
        print_json({"name": name, "out": str(path), "bytes": path.stat().st_size, "sha256": file_sha256(path)})
    elif not quiet:
        stdout_console().print(f"{path} ({entry.licence}, {entry.source})", soft_wrap=True)


@app.command()
def convert(
    source: Annotated[str, typer.Argument(help="Trace file or name.", metavar="IN")],
    out: Annotated[Path, typer.Argument(help="File to write: .csv, .csv.gz or .parquet.", metavar="OUT")],
    failures: Failures = "keep",
    map_columns: Map = None,
    format: Format = "auto",
    spread_seed: SpreadSeed = 0,
    sort: Sort = False,
    max_rows: MaxRows = None,
    max_bytes: MaxBytes = None,
    force: Force = False,
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a trace in handrail's own columns; reading that back gives the same content hash."""
    from ...traces.llm.write import check_free, check_suffix, write_trace

    check_suffix(out)
    check_free(out, force=force, source=source)
    with remarks(quiet) as shown:
        shown.say(f"reading {source}")
        trace = _load(source, failures, map_columns, format, spread_seed, sort, max_rows, max_bytes)
        shown.say(f"writing {out}")
        write_trace(trace, out)
    if json_output:
        hashed = {"requests": len(trace), "content_hash": trace.content_hash, "notes": dict(trace.notes)}
        print_json({"in": source, "out": str(out), **hashed})
    elif not quiet:
        stdout_console().print(f"{out}: {len(trace):,} requests, content {trace.content_hash[:12]}", soft_wrap=True)


def _load(
    name: str,
    failures: str,
    map_columns: list[str] | None,
    format: str,
    spread_seed: int,
    sort: bool,
    max_rows: int | None,
    max_bytes: int | None,
) -> RequestTrace:
    from ...traces import load_trace
    from ...traces.llm.source import DEFAULT_MAX_BYTES, DEFAULT_MAX_ROWS

    mapping = {}
    for item in map_columns or []:
        field, equals, column = item.partition("=")
        if not (field and equals and column):
            raise HandrailError(f"--map {item!r} is not FIELD=COLUMN, as in arrival_s=ts")
        mapping[field] = column
    return load_trace(
        name,
        format=format,
        mapping=mapping or None,
        failures=failures,
        spread_seed=None if spread_seed == -1 else spread_seed,
        sort=sort,
        max_rows=DEFAULT_MAX_ROWS if max_rows is None else max_rows,
        max_bytes=DEFAULT_MAX_BYTES if max_bytes is None else max_bytes,
    )


def _parameters(path: Path | None) -> tuple[dict[str, Any], int]:
    """Parameters and seed of a JSON file: either what ``generate`` writes or the parameters alone."""
    if path is None:
        return {}, 0
    try:
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise HandrailError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise HandrailError(f"{path}: is not JSON ({error})") from None
    if not isinstance(content, dict):
        raise HandrailError(f"{path}: one JSON object with the parameters is expected")
    if "parameters" not in content:
        return content, 0
    values, seed = content["parameters"], content.get("seed", 0)
    if not isinstance(values, dict) or type(seed) is not int:
        raise HandrailError(f"{path}: parameters must be an object and seed a whole number")
    return dict(values), seed


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def _summary_table(names: list[str], traces: list[RequestTrace], summaries: list[TraceSummary]) -> Table:
    table = Table(box=None)
    table.add_column("")
    for name in names:
        table.add_column(Path(name).name, justify="right", overflow="fold")
    failed = [f"{trace.notes.get('failed', 0):,} ({trace.notes.get('failures', 'keep')})" for trace in traces]
    table.add_row("requests", *(f"{s.requests:,}" for s in summaries))
    table.add_row("failed in the recording", *failed)
    table.add_row("duration, s", *(f"{s.duration_s:,.1f}" for s in summaries))
    for label, attribute in (
        ("rate, requests/s", "rate_per_s"),
        ("busiest minute / mean", "peak_to_mean_60s"),
        ("inter-arrival CV", "interarrival_cv"),
        ("Fano factor, 1 s", "fano_1s"),
        ("Fano factor, 60 s", "fano_60s"),
    ):
        table.add_row(label, *(_number(getattr(s, attribute)) for s in summaries))
    for label, attribute in (("prompt tokens", "prompt_tokens"), ("output tokens", "output_tokens")):
        for quantile in ("mean", "p50", "p90", "p99", "p999", "max"):
            table.add_row(f"{label} {quantile}", *(f"{getattr(s, attribute)[quantile]:,.0f}" for s in summaries))
    table.add_row("length correlation, Pearson", *(_number(s.length_pearson) for s in summaries))
    table.add_row("length correlation, Spearman", *(_number(s.length_spearman) for s in summaries))
    table.add_row("sessions", *(f"{s.sessions:,}" if s.sessions is not None else "-" for s in summaries))
    table.add_row("turns a session", *(_number(s.turns_per_session) for s in summaries))
    for label, attribute in (("tenant", "tenants"), ("model", "models")):
        for value in dict.fromkeys(value for s in summaries for value in getattr(s, attribute)):
            table.add_row(f"{label} {value}", *(f"{getattr(s, attribute).get(value, 0):.1%}" for s in summaries))
    table.add_row("prefix blocks seen before", *(_share(s.prefix_reuse) for s in summaries))
    return table


def _distance_table(distances: dict[str, ColumnDistance]) -> Table:
    table = Table(box=None, title="B against A", title_justify="left")
    table.add_column("")
    for heading in ("KS", "Wasserstein", "p90 B/A", "p95 B/A", "p99 B/A", "p99.9 B/A"):
        table.add_column(heading, justify="right")
    for column, distance in distances.items():
        ratios = (_number(ratio) for ratio in distance.tail_ratio.values())
        table.add_row(column, f"{distance.ks:.3f}", _number(distance.wasserstein), *ratios)
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.3g}" if abs(value) < 1_000 else f"{value:,.0f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
