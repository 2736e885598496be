"""The one exception that handrail raises for a user's mistake."""

from __future__ import annotations


class HandrailError(Exception):
    """A mistake in the user's input: a trace, a config, a policy folder, a flag.

    The message names the file, row or field and the mend, in one line; the command line prints it and exits with 2.
    """


class TraceError(HandrailError):
    """A trace file that cannot be read as it is."""
