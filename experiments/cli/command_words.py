"""What a run folder's command says, read by the command line's own parser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from ...traces.errors import HandrailError
from . import options


@dataclass(frozen=True, slots=True)
class CompareWords:
    """The options of a ``handrail compare`` that was run before.

    Attributes:
        traffic: Which trace, which part of it and how fast.
        own: The domain's own options.
        given: All options by name.
        default_policy: What decides where no policy is named.
    """

    traffic: options.TrafficOptions
    own: Any
    given: dict[str, Any]
    default_policy: str

    def policy(self) -> str:
        """What ``--policy`` said."""
        return self.given["policy"] or self.default_policy

    def read_trace(self, path_or_name: str | None) -> Any:
        """The run's trace, read with the options of its command.

        Args:
            path_or_name: Where it is; None for what the command names, which holds no folder.

        Raises:
            HandrailError: It cannot be read.
        """
        traffic = self.traffic if path_or_name is None else replace(self.traffic, trace=path_or_name)
        try:
            return self.own.read_trace(traffic)
        except HandrailError as error:
            if path_or_name is None:
                raise HandrailError(f"{error}; the run folder keeps no paths: say with --trace where it is") from None
            raise


def parse_compare(command: Sequence[str]) -> CompareWords:
    """Read the words of a comparison's command.

    Raises:
        HandrailError: They are not understood, so that they are of another version.
    """
    from typer.main import get_command

    from .app import app

    name, *words = command[1:]
    parser: Any = get_command(app)
    try:
        found = parser.commands[name].make_context(name, list(words)).params
    except Exception as error:
        message = error.format_message() if hasattr(error, "format_message") else error  # type: ignore[attr-defined]
        raise HandrailError(f"run.json: its command is not understood ({message}); make the run anew") from None
    group = {"llm": options.LLMOptions, "cluster": options.ClusterOptions, "prefetch": options.PrefetchOptions}
    chosen, own = options.chosen(found["domain"], _filled(group[found["domain"]], found))
    return CompareWords(_filled(options.TrafficOptions, found), own, found, chosen.default_policy)


def _filled(kind: Any, found: dict[str, Any]) -> Any:
    return kind(**{option.name: found[option.name] for option in fields(kind)})
