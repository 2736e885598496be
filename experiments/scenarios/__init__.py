"""What goes wrong: shifts of traffic, faults of the system, of sensors and of policies, the same for all domains.

``stress`` says what a stress is, ``parse`` reads one from text, ``run`` replays under one, ``severities`` has how bad
each is. ``adversary`` trains a policy against a guard.
"""

from __future__ import annotations

from .context import StressContext
from .mixes import LengthMix, NewTenant, PhaseChange
from .parse import parse_stress, stress_names
from .policy_faults import PolicyFault
from .run import StressedRun, context_of, run_stressed, stressed
from .sensor_faults import SENSOR_FAULTS, SensorFault
from .sensors import REACHES, Sensors
from .severities import SEVERITIES, Severities
from .shifts import Drift, FlashCrowd, LoadShift
from .stress import NO_STRESS, Composed, Stress, Workshop, compose
from .system_faults import SYSTEM_FAULTS, SystemFault

__all__ = [
    "NO_STRESS",
    "REACHES",
    "SENSOR_FAULTS",
    "SEVERITIES",
    "SYSTEM_FAULTS",
    "Composed",
    "Drift",
    "FlashCrowd",
    "LengthMix",
    "LoadShift",
    "NewTenant",
    "PhaseChange",
    "PolicyFault",
    "SensorFault",
    "Sensors",
    "Severities",
    "Stress",
    "StressContext",
    "StressedRun",
    "SystemFault",
    "Workshop",
    "compose",
    "context_of",
    "parse_stress",
    "run_stressed",
    "stress_names",
    "stressed",
]
