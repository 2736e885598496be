"""Placement policies: which machine a task gets, and which GPU of it. One policy a file.

`make_placement` builds one by name; docs/placements.md says how to add one.
"""

from __future__ import annotations

from collections.abc import Callable

from numpy.random import Generator

from ....traces.errors import HandrailError
from ..fragmentation import FragmentMeter
from .base import Placement
from .best_fit import BestFit
from .fgd import FGD
from .first_fit import FirstFit
from .packing import Packing
from .random import Random
from .worst_fit import WorstFit

__all__ = ["PLACEMENTS", "Placement", "make_placement"]

PLACEMENTS: dict[str, Callable[[Generator, FragmentMeter], Placement]] = {
    "random": lambda rng, meter: Random(rng),
    "first-fit": lambda rng, meter: FirstFit(),
    "best-fit": lambda rng, meter: BestFit(),
    "worst-fit": lambda rng, meter: WorstFit(),
    "packing": lambda rng, meter: Packing(),
    "fgd": lambda rng, meter: FGD(meter),
}
"""Name -> policy, given a random stream and the pool's measure of fragmentation."""


def make_placement(name: str, rng: Generator, meter: FragmentMeter) -> Placement:
    """The policy of that name.

    Raises:
        HandrailError: There is none.
    """
    if name not in PLACEMENTS:
        raise HandrailError(f"placement: there is no {name!r}; use one of {', '.join(PLACEMENTS)}")
    return PLACEMENTS[name](rng, meter)
