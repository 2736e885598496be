"""``handrail traces``: list, describe, generate, fetch and convert."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from ...traces.errors import HandrailError
from .options import Json, Map, Quiet, Sort
from .output import print_json, remarks, stdout_console
from .trace_domain import Generator, Reading, TraceDomain, distance_table, summary_table, trace_domain

app = typer.Typer(help="List, describe, generate, fetch and convert traces.", no_args_is_help=True)

Domain = Annotated[str, typer.Option(help="What the traces are of.", metavar="llm|cluster|prefetch")]
Failures = Annotated[
    str | None, typer.Option(help="Failed requests (0 output tokens); llm only.", metavar="drop|keep|retry")
]
Format = Annotated[
    str,
    typer.Option(
        help="Told by content unless given.",
        metavar="auto|generic|burstgpt|azure|mooncake, or swf|philly|openb, "
        "or oracle-general|mqsim|msr|cachelib-block|cachelib-kv",
    ),
]
SpreadSeed = Annotated[
    int | None, typer.Option(help="Seed that spreads coarse stamps; -1 leaves them as they are; not for cluster.")
]
MaxRows = Annotated[int | None, typer.Option(help="Refuse a file with more rows.")]
MaxBytes = Annotated[int | None, typer.Option(help="Refuse a file with more bytes, unpacked.")]
Permute = Annotated[
    bool | None,
    typer.Option(
        "--permute/--no-permute",
        help="Renumber ids in an order that tells nothing; unless said, Mooncake's only; prefetch only.",
    ),
]
BlockBytes = Annotated[int | None, typer.Option(help="What requests to blocks are split by; prefetch only.")]
Force = Annotated[bool, typer.Option("--force", help="Replace a file that is there already.")]


@app.command("list")
def list_traces(domain: Domain = "llm", json_output: Json = False, quiet: Quiet = False) -> None:
    """Show the traces known by name, and which of them are here."""
    from ...traces.catalog import CATALOG, data_folder

    of = trace_domain(domain)
    rows: list[dict[str, Any]] = [
        {"name": of.bundled, "here": True, "licence": "Apache-2.0", "source": "generated, see docs/traces.md"}
    ]
    paths = [of.bundled_path]
    for entry in CATALOG.values() if of.fetched else ():
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
    domain: Domain = "llm",
    failures: Failures = None,
    map_columns: Map = None,
    format: Format = "auto",
    spread_seed: SpreadSeed = None,
    sort: Sort = False,
    max_rows: MaxRows = None,
    max_bytes: MaxBytes = None,
    permute: Permute = None,
    block_bytes: BlockBytes = None,
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print rate, burstiness and sizes of a trace, or how far two are apart."""
    of = trace_domain(domain)
    reading = Reading(failures, map_columns, format, spread_seed, sort, max_rows, max_bytes, permute, block_bytes)
    names = [a] if b is None else [a, b]
    with remarks(quiet) as shown:
        traces = []
        for name in names:
            shown.say(f"reading {name}")
            traces.append(of.read(name, reading))
        summaries = [of.describe(trace) for trace in traces]
        distances = of.compare(*traces) if b is not None else {}
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
        stdout_console().print(summary_table(names, of.rows(traces, summaries)))
        if distances:
            stdout_console().print(distance_table(distances))


@app.command()
def generate(
    out: Annotated[Path, typer.Argument(help="File to write: .csv, .csv.gz or .parquet.", metavar="OUT")],
    domain: Domain = "llm",
    model: Annotated[
        str | None, typer.Option(help="What is drawn from.", metavar="burstgpt-like, or philly-like|lublin, or phases")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Parameters as JSON, such as a generated trace's own .json.", metavar="FILE")
    ] = None,
    set_values: Annotated[
        list[str] | None,
        typer.Option("--set", help="One parameter, such as duration_s=3600; goes over --config.", metavar="NAME=VALUE"),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed; by default that of --config, else 0.")] = None,
    force: Force = False,
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Draw a trace from a model; its parameters are written beside it as JSON."""
    from ...traces.common.parameters import parse_config
    from ...traces.common.write import check_free, check_suffix, write_atomically

    of = trace_domain(domain)
    stem = check_suffix(out)
    beside = out.with_name(f"{stem}.json")
    check_free(out, force=force)
    check_free(beside, force=force, source=config)
    values, config_seed, config_model = _parameters(config)
    name, generator = _generator(of, model, config_model, str(config))
    for item in set_values or []:
        key, equals, value = item.partition("=")
        if not (key and equals):
            raise HandrailError(f"--set {item!r} is not NAME=VALUE, as in duration_s=3600")
        values[key] = _json_or_text(value)
    given_in = str(config) if config is not None and not set_values else "--set"
    parameters = parse_config(generator.config, values, given_in)
    chosen = config_seed if seed is None else seed
    with remarks(quiet) as shown:
        shown.say(f"drawing about {generator.expected(parameters):,.0f} {of.items}")
        trace = generator.draw(parameters, chosen)
        shown.say(f"writing {out}")
        of.write(trace, out)
    facts = of.facts(trace)
    record = {
        "generator": name,
        "seed": chosen,
        "parameters": parameters.model_dump(mode="json"),
        of.items: len(trace),
        **facts,
        "content_hash": trace.content_hash,
    }
    text = json.dumps(record, indent=2) + "\n"
    write_atomically(beside, lambda file: file.write(text.encode()))
    if json_output:
        print_json({"out": str(out), **record})
    elif not quiet:
        extra = "".join(f", {count:,} {fact.replace('_', ' ')}" for fact, count in facts.items())
        stdout_console().print(f"{out}: {len(trace):,} {of.items} in {trace.duration_s:,.0f} s{extra}", soft_wrap=True)


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
    domain: Domain = "llm",
    failures: Failures = None,
    map_columns: Map = None,
    format: Format = "auto",
    spread_seed: SpreadSeed = None,
    sort: Sort = False,
    max_rows: MaxRows = None,
    max_bytes: MaxBytes = None,
    permute: Permute = None,
    block_bytes: BlockBytes = None,
    force: Force = False,
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a trace in handrail's own columns; reading that back gives the same content hash."""
    from ...traces.common.write import check_free, check_suffix

    of = trace_domain(domain)
    check_suffix(out)
    check_free(out, force=force, source=source)
    # Nothing that was recorded is lost in converting, unless asked for.
    if domain == "llm" and failures is None:
        failures = "keep"
    with remarks(quiet) as shown:
        shown.say(f"reading {source}")
        trace = of.read(
            source, Reading(failures, map_columns, format, spread_seed, sort, max_rows, max_bytes, permute, block_bytes)
        )
        shown.say(f"writing {out}")
        of.write(trace, out)
    if json_output:
        hashed = {of.items: len(trace), "content_hash": trace.content_hash, "notes": dict(trace.notes)}
        print_json({"in": source, "out": str(out), **hashed})
    elif not quiet:
        stdout_console().print(f"{out}: {len(trace):,} {of.items}, content {trace.content_hash[:12]}", soft_wrap=True)


def _generator(of: TraceDomain, model: str | None, config_model: str | None, config: str) -> tuple[str, Generator]:
    """The generator that is asked for: by ``--model``, else by the record in ``--config``, else the domain's first."""
    name = model or config_model or next(iter(of.generators))
    if name not in of.generators:
        where = f"--model {name}" if model else f"{config}: generator {name!r}"
        raise HandrailError(f"{where} is not known for this domain; take one of {', '.join(of.generators)}")
    if model and config_model and model != config_model:
        raise HandrailError(f"--model {model}: the parameters in {config} are those of {config_model}; leave one out")
    return name, of.generators[name]


def _parameters(path: Path | None) -> tuple[dict[str, Any], int, str | None]:
    """Parameters, seed and generator of a JSON file: either what ``generate`` writes or the parameters alone."""
    if path is None:
        return {}, 0, None
    try:
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise HandrailError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise HandrailError(f"{path}: is not JSON ({error})") from None
    if not isinstance(content, dict):
        raise HandrailError(f"{path}: one JSON object with the parameters is expected")
    if "parameters" not in content:
        return content, 0, None
    values, seed, generator = content["parameters"], content.get("seed", 0), content.get("generator")
    if not isinstance(values, dict) or type(seed) is not int or not isinstance(generator, str | None):
        raise HandrailError(f"{path}: parameters must be an object, seed a whole number and generator a name")
    return dict(values), seed, generator


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value
