"""From the command line's text to a stress."""

from __future__ import annotations

from typing import Any, cast

from ...policies.sabotage import KINDS
from ...traces.errors import HandrailError
from .mixes import MIXES
from .policy_faults import PolicyFault
from .sensor_faults import SENSOR_FAULTS, SensorFault
from .sensors import REACHES, Reach
from .severities import SEVERITIES, Severities
from .shifts import Drift, FlashCrowd, LoadShift
from .stress import DEFAULT_END, DEFAULT_ONSET, Stress, compose
from .system_faults import SYSTEM_FAULTS, SystemFault

PLAIN = ("flash-crowd", "drift", *MIXES)
"""Shifts that take no setting."""


def parse_stress(text: str, severities: Severities = SEVERITIES) -> Stress:
    """The stress that a text names: parts ``NAME[:SETTING][@ONSET-END]`` joined by ``+``; empty or ``none``: none.

    ``load:2+straggler@0.3-0.6`` is twice the load in the middle third, and a slow replica from 0.3 to 0.6 of the
    window. The setting is the factor of ``load``, the reach of a sensor fault (``policy``, ``checks``, ``all``) and the
    kind of ``policy`` (as after ``--policy sabotage:``).

    Raises:
        HandrailError: A part is not understood.
    """
    words = [word.strip() for word in text.split("+")]
    if words in ([""], ["none"]):
        return compose()
    return compose(*(_part(word, severities) for word in words))


def stress_names() -> tuple[str, ...]:
    """Every name that :func:`parse_stress` takes, with its settings; loads by the severities' factors."""
    loads = (f"load:{factor:g}" for factor in SEVERITIES.load_factors)
    sensors = (f"{fault}:{reach}" for fault in SENSOR_FAULTS for reach in REACHES)
    return (*loads, *PLAIN, *SYSTEM_FAULTS, *sensors, *(f"policy:{kind}" for kind in KINDS))


def _part(word: str, severities: Severities) -> Stress:
    called, at, span = word.partition("@")
    name, colon, setting = called.partition(":")
    onset, end = _span(word, span) if at else (DEFAULT_ONSET, DEFAULT_END)
    when: dict[str, Any] = {"onset": onset, "end": end}
    if name == "load":
        return LoadShift(**when, factor=_factor(word, setting))
    if name == "policy":
        return PolicyFault(**when, fault=setting, severities=severities)
    if name in SENSOR_FAULTS:
        return SensorFault(**when, fault=name, reach=cast(Reach, setting), severities=severities)
    if name not in PLAIN and name not in SYSTEM_FAULTS:
        known = ("load:FACTOR", *PLAIN, *SYSTEM_FAULTS, *(f"{fault}:REACH" for fault in SENSOR_FAULTS), "policy:KIND")
        raise HandrailError(f"no stress is named {name!r}; choose among {', '.join(known)}")
    if colon:
        raise HandrailError(f"{word}: {name} takes no setting; leave out :{setting}")
    if name in SYSTEM_FAULTS:
        return SystemFault(**when, fault=name, severities=severities)
    shift = {"flash-crowd": FlashCrowd, "drift": Drift, **MIXES}[name]
    return shift(**when, severities=severities)


def _factor(word: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise HandrailError(f"{word}: load takes a factor, as in load:2") from None


def _span(word: str, text: str) -> tuple[float, float]:
    onset, dash, end = text.partition("-")
    try:
        return float(onset), float(end) if dash else 1.0
    except ValueError:
        raise HandrailError(
            f"{word}: after @ come onset and end as shares of the window, as in @0.3-0.6 (or @0.5: to the end)"
        ) from None
