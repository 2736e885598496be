"""Policies: the interface, heuristics, trained networks and how they are kept, and policies that are broken on purpose.

Guards live in ``handrail.policies.guards``, training in ``handrail.policies.learning`` (the only place that imports
torch). Policies may import traces and envs, never experiments. What takes a ``domain`` takes ``llm`` where none is
named; ``HEURISTICS`` are the routing heuristics, those of any domain are had from ``heuristics_of``.
"""

from .artifact import LearnedPolicy, load_policy, save_policy
from .domains import DOMAINS, Domain
from .factory import bundled_folder, make_policy
from .heuristics import Heuristic, heuristics_of, make_heuristic
from .heuristics.llm_serving import HEURISTICS
from .interface import Feedback, OutcomeSignal, Policy
from .sabotage import SABOTAGES, make_sabotage

__all__ = [
    "DOMAINS",
    "HEURISTICS",
    "SABOTAGES",
    "Domain",
    "Feedback",
    "Heuristic",
    "LearnedPolicy",
    "OutcomeSignal",
    "Policy",
    "bundled_folder",
    "heuristics_of",
    "load_policy",
    "make_heuristic",
    "make_policy",
    "make_sabotage",
    "save_policy",
]
