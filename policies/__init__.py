"""Policies: the interface, heuristics, trained networks and how they are kept, and policies that are broken on purpose.

Guards live in ``handrail.policies.guards``, training in ``handrail.policies.learning`` (the only place that imports
torch). Policies may import traces and envs, never experiments.
"""

from .artifact import LearnedPolicy, load_policy, save_policy
from .factory import make_policy
from .heuristics.llm_serving import HEURISTICS, make_heuristic
from .interface import Feedback, OutcomeSignal, Policy
from .sabotage import SABOTAGES, make_sabotage

__all__ = [
    "HEURISTICS",
    "SABOTAGES",
    "Feedback",
    "LearnedPolicy",
    "OutcomeSignal",
    "Policy",
    "load_policy",
    "make_heuristic",
    "make_policy",
    "make_sabotage",
    "save_policy",
]
