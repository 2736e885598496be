"""How much there is to learn: what heuristics, a search on the window itself and a look ahead leave to be gained."""

from .lookahead import Lookahead
from .measure import HeadroomOptions, measure_headroom

__all__ = ["HeadroomOptions", "Lookahead", "measure_headroom"]
