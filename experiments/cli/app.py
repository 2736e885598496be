"""The typer app: commands, and how a user's mistake ends (one line on stderr, exit code 2)."""

from __future__ import annotations

import sys
from typing import Annotated, Any, NoReturn

import typer
from typer.main import get_command

from ...traces.errors import HandrailError
from . import adversary, compare, guard, guard_audit, headroom, replay, study, traces, train

OUTPUT_EXIT, USAGE_EXIT, INTERRUPT_EXIT = 1, 2, 130

app = typer.Typer(
    name="handrail",
    help="A simulation testbed for learned systems policies that sit behind guard rails.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("compare")(compare.compare)
app.command("replay")(replay.replay)
app.command("train")(train.train)
app.command("adversary")(adversary.adversary)
guard.app.command("audit")(guard_audit.audit)
app.add_typer(guard.app, name="guard")
app.command("headroom")(headroom.headroom)
app.add_typer(study.app, name="study")
app.add_typer(traces.app, name="traces")


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"handrail {version('handrail')}")
        raise typer.Exit


@app.callback()
def _handrail(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line; ends the process with 0, 2 (a user's mistake) or 130 (Ctrl-C)."""
    try:
        code: Any = get_command(app)(args=arguments, prog_name="handrail", standalone_mode=False)
    except HandrailError as error:
        _complain(str(error))
        code = USAGE_EXIT
    except (KeyboardInterrupt, typer.Abort):
        _complain("interrupted")
        code = INTERRUPT_EXIT
    except BrokenPipeError:
        # The reader of a pipe has gone (as with `| head`); what is still buffered has nowhere to go either.
        sys.stdout = None  # type: ignore[assignment]
        code = 0
    except OSError as error:
        # Every path that a user gives is checked where it is used; an error without a name is standard output's.
        sys.stdout = None  # type: ignore[assignment]
        _complain(f"{error.filename or 'standard output'}: {error.strerror}")
        code = OUTPUT_EXIT
    except Exception as error:
        # Usage errors of the command-line parser know how to say themselves in one line.
        if not hasattr(error, "format_message"):
            raise
        _complain(error.format_message() or "no command given; see handrail --help")  # type: ignore[attr-defined]
        code = USAGE_EXIT
    sys.exit(code if isinstance(code, int) else 0)


def _complain(message: str) -> None:
    print(f"handrail: error: {' '.join(message.splitlines())}", file=sys.stderr)
