"""What a policy may choose at a decision: which prefetcher, and how much of what it suggests is fetched."""

from __future__ import annotations

from typing import NamedTuple

from ...traces.errors import HandrailError

OFF = "none"
MAX_DEGREE = 64
"""Largest degree; more is taken for a slip."""


class Arm(NamedTuple):
    """A prefetcher and its degree: the first ``degree`` of its suggestions at each access are fetched.

    ``none`` has degree 0.
    """

    prefetcher: str
    degree: int

    @property
    def label(self) -> str:
        """As it is written: ``none``, ``stride:4``."""
        return OFF if self.prefetcher == OFF else f"{self.prefetcher}:{self.degree}"

    @classmethod
    def parse(cls, text: str) -> Arm:
        """``none``, ``NAME`` (degree 1) or ``NAME:DEGREE``.

        Raises:
            HandrailError: It is none of these. Whether there is such a prefetcher is checked where it is made.
        """
        name, colon, degree = text.partition(":")
        if name == OFF and not colon:
            return cls(OFF, 0)
        if not name or name == OFF or (colon and not (degree.isdecimal() and 1 <= int(degree) <= MAX_DEGREE)):
            raise HandrailError(f"arm {text!r} is not none, NAME or NAME:DEGREE with a degree of 1 to {MAX_DEGREE}")
        return cls(name, int(degree) if colon else 1)


DEFAULT_MENU = (
    "none",
    "obl:1",
    "obl:8",
    "next-line:8",
    "stride:1",
    "stride:4",
    "stride:16",
    "spp:1",
    "spp:4",
    "readahead:32",
    "markov:1",
    "markov:4",
    "leap:8",
    "mithril:2",
)
"""The arms of a policy where nothing else is said; all of them look at accesses alone."""
