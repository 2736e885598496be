"""The story of one moment of a guarded run: what was proposed, what each check said, what was done and why."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..policies.guards import State
from ..traces.errors import HandrailError
from .decision_log import RESULTS_FILE, DecisionLog
from .domains import Domain, domain_named

NEXT = {
    "closed": "it opens as soon as a check trips, faults come in a row, or too many proposals are vetoed",
    "open": "it lets the policy probe at the first decision from {until_s:.3f} s on",
    "half-open": "it closes once the probes are made and enough of their outcomes are known, or opens again",
}


def story_at(log: DecisionLog, at_s: float) -> dict[str, Any]:
    """The decision at or before a simulated time, as JSON has it.

    Keys: ``at_s``, ``decision``, ``now_s``, ``item``, ``proposed`` and ``by``, ``fallback``, ``said`` (a list, one a
    check, in the order in which they ran), ``executed`` (``action``, ``who``, ``policy``, ``verdict``, ``check``,
    ``reason``), ``supervisor`` (``state``, ``stage``, ``since_s``, ``cause``, ``until_s``, ``then``) and ``outcome``
    (None where the log does not say which item it was).

    Raises:
        HandrailError: The log is empty, the time is no number or before the first decision, or the results of the run
            cannot be read.
    """
    now_s = log.now_s()
    if len(now_s) == 0:
        raise HandrailError(f"{log.folder}: no decision was made in this run; name another")
    end_s = _end_s(log)
    if not now_s[0] <= at_s <= max(end_s, float(now_s[-1])):
        raise HandrailError(
            f"--at {at_s:g}: the run goes from {now_s[0]:.3f} s (its first decision) to {end_s:.3f} s; "
            "give a time between"
        )
    at = int(np.searchsorted(now_s, at_s, side="right")) - 1
    row = log.rows([at])[0]
    domain = domain_named(log.about["domain"])
    policies = {"learned": "policy", "fallback": "fallback", "last-rung": "last_rung"}
    return {
        "at_s": at_s,
        "decision": row["decision"],
        "now_s": row["now_s"],
        "item": row["item"],
        "proposed": row["proposed"] if row["proposed"] >= 0 else None,
        "asked": row["asked"],
        "by": {"policy": log.about["policy"], "policy_hash": log.about["policy_hash"]},
        "fallback": {"action": row["fallback"], "policy": log.about["fallback"]},
        "said": [{**one, "evidence": _finite(one["evidence"])} for one in row["said"]],
        "executed": {
            "action": row["executed"],
            "who": row["who"],
            "policy": log.about[policies[row["who"]]],
            "verdict": row["verdict"],
            "check": row["check"],
            "reason": row["reason"],
        },
        "supervisor": _supervisor(log, row),
        "outcome": _outcome(log, domain, row["item"]),
    }


def story_lines(story: dict[str, Any], item: str) -> list[str]:
    """The story in plain sentences.

    Args:
        story: What :func:`story_at` gave.
        item: The domain's noun for a row of the trace.
    """
    by, fallback, executed = story["by"], story["fallback"], story["executed"]
    digest = f" ({by['policy_hash'][:12]})" if by["policy_hash"] else ""
    lines = [
        f"decision {story['decision']} at {story['now_s']:.3f} s, the last one up to {story['at_s']:g} s",
        f"observed: {item} {story['item']} of the trace",
    ]
    if story["proposed"] is not None:
        lines.append(f"proposed: action {story['proposed']}, by {by['policy']}{digest}")
    else:
        why = "gave no action in range" if story["asked"] else "was not asked"
        lines.append(f"proposed: nothing; {by['policy']}{digest} {why}")
    lines.append(f"fallback: action {fallback['action']}, by {fallback['policy']}")
    lines.append("checks that ran, in order:" if story["said"] else "checks that ran: none")
    lines += [f"  {one['check']}: {_in_words(one)}" for one in story["said"]]
    cause = "nothing objected" if executed["verdict"] == "accept" else f"{executed['check']}: {executed['reason']}"
    whose = {"learned": "the policy's", "fallback": "the fallback's", "last-rung": "the last rung's"}[executed["who"]]
    lines.append(f"executed: action {executed['action']}, {whose} ({executed['policy']}); {cause}")
    return [*lines, *_supervisor_lines(story["supervisor"]), _outcome_line(story["outcome"], item)]


def _in_words(one: dict[str, Any]) -> str:
    if one["verdict"] == "accept":
        return "accepts"
    numbers = ", ".join(f"{name} {'no number' if x is None else f'{x:.6g}'}" for name, x in one["evidence"].items())
    verb = "trips" if one["verdict"] == "trip" else "vetoes"
    return f"{verb} ({one['reason']})" + (f": {numbers}" if numbers else "")


def _supervisor(log: DecisionLog, row: dict[str, Any]) -> dict[str, Any]:
    """State and stage in which the decision was made, the change that led there, and what the decision changed."""
    decision = row["decision"]
    led = [t for t in log.transitions if t.decision <= decision]
    caused = None
    # A policy that was asked ruled until its proposal was judged; an opening at that decision came of it.
    if row["asked"] and led and led[-1].decision == decision and led[-1].after is State.OPEN:
        caused = led.pop()
    last = led[-1] if led else None
    until_s = last.until_s if last is not None and row["state"] == State.OPEN.label else None
    return {
        "state": row["state"],
        "stage": row["stage"],
        "since_s": None if last is None else last.now_s,
        "cause": None if last is None else last.cause,
        "until_s": until_s,
        "then": None
        if caused is None
        else {"state": caused.after.label, "cause": caused.cause, "until_s": caused.until_s},
    }


def _supervisor_lines(supervisor: dict[str, Any]) -> list[str]:
    state = supervisor["state"]
    since = "from the start"
    if supervisor["since_s"] is not None:
        since = f"since {supervisor['since_s']:.3f} s ({supervisor['cause']})"
    stage = "" if supervisor["stage"] == "full" else f", stage {supervisor['stage']}"
    following = NEXT[state].format(until_s=supervisor["until_s"] or 0.0)
    then = supervisor["then"]
    if then is not None:
        following = f"with this decision it opened ({then['cause']}), until {then['until_s']:.3f} s at least"
    return [f"supervisor: {state} {since}{stage}; {following}"]


def _outcome(log: DecisionLog, domain: Domain, item: int) -> dict[str, Any] | None:
    columns = _results(log)
    if not 0 <= item < len(columns["arrival_s"]):
        return None
    one = SimpleNamespace(**{name: values[item : item + 1] for name, values in columns.items()})
    figure = domain.report.figure
    headline = float(domain.headline(one)[0])
    sojourn_s = float(one.finish_s[0] - one.arrival_s[0])
    return {
        "quantity": figure.quantity,
        "unit": figure.unit,
        "value": headline if math.isfinite(headline) else None,
        "sojourn_s": sojourn_s if math.isfinite(sojourn_s) else None,
        "measured": bool(one.measured[0]),
    }


def _outcome_line(outcome: dict[str, Any] | None, item: str) -> str:
    if outcome is None:
        return f"came of it: not known, the run ended before another {item}"
    if outcome["value"] is None:
        return f"came of it: the {item} was lost or had not ended"
    ended = "" if outcome["sojourn_s"] is None else f", over {outcome['sojourn_s']:.6g} s after it arrived"
    return f"came of it: {outcome['quantity']} {outcome['value']:.6g} {outcome['unit']}".rstrip() + ended


def _end_s(log: DecisionLog) -> float:
    columns = _results(log)
    last_s = [log.now_s()[-1:], columns["arrival_s"], columns["finish_s"]]
    known = np.concatenate([values[np.isfinite(values)] for values in last_s])
    return float(known.max())


def _results(log: DecisionLog) -> dict[str, Any]:
    """The result columns of the guarded run.

    Raises:
        HandrailError: The file is missing or cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = log.folder / RESULTS_FILE
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise HandrailError(f"{path}: cannot be read ({error}); make the run anew") from None
    return {name: table[name].to_numpy() for name in table.column_names}


def _finite(evidence: dict[str, float]) -> dict[str, float | None]:
    """JSON has no infinity and no NaN."""
    return {name: value if math.isfinite(value) else None for name, value in evidence.items()}
