"""The report of a study in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .config import StudyConfig
from .measure import MEASURES, tail_names

Row = Sequence[str]
WORST_SHOWN = 12
MOST_ROWS = 60

HOW = """
A *cell* is a trace at a load under a stress with a policy; replicates of one are disjoint windows or realisations
(superposed or thinned copies with other seeds), on which all arms run with the same random numbers. The class is from
the fallback alone: *light* (p99 wait under 5 % of the objective), *saturated* (objective attained by under 50 %, or a
backlog whose later half of the last third is 1.5 times its earlier half and of all before), else *loaded*. Only loaded
cells with {p99:,} measured items over all replicates ({p999:,} for p99.9) are held to the bar; others are shown.
A cell's ratio is the geometric mean over replicates of the tail over the fallback's. *Pooled*: each cell's items over
that cell's own fallback p99, all cells with the same weight, and then the ratio of the pools' tails; its interval
resamples replicates, those of one trace and load together. Intervals of cells hold for all cells of a tail at once
(max-t over replicates; below 8 replicates by Student's t at the Sidak level). Realisations of one trace share its
requests, so intervals say what another meeting of the same requests would give, not another day. The hindsight oracle
takes block by block the better of the fallback's and the policy's run, with the guard's number of switches; that is an
approximation, since a real switch takes over the other's queue. Where the fallback breaks no ties (prefetching) the
placebo is the fallback on the same accesses moved by up to half of their gap to the next.
"""


def report_text(content: Mapping[str, Any], config: StudyConfig) -> str:
    """The whole report from what ``study.json`` holds."""
    lines = [f"# Study of guards: {config.name}", "", f"    {' '.join(content['command'])}", ""]
    digests = f"config SHA-256 `{content['config_sha256'][:16]}`, sources `{content['sources_sha256'][:16]}`"
    lines += [
        f"Split `{config.split}`, seed {config.seed}; {digests}; thresholds fixed on validation parts.",
        *(f"\nNote: {remark}." for remark in content["remarks"]),
        HOW.format(p99=config.min_p99_items, p999=config.min_p999_items),
    ]
    lines += ["## The bar", ""]
    for domain, found in content["domains"].items():
        lines += [f"### {domain}", "", *_table(("asked", "verdict", "found"), _bar_rows(found)), ""]
        missed = [c for c in found["bar"] if c["cells"]]
        for clause in missed:
            lines += [f"Cells that miss *{clause['name']}*:", "", *(f"- {cell}" for cell in clause["cells"]), ""]
    for domain, found in content["domains"].items():
        lines += _domain(domain, found, config)
    return "\n".join(lines).rstrip() + "\n"


def _bar_rows(found: Mapping[str, Any]) -> Iterable[Row]:
    for clause in found["bar"]:
        yield clause["name"], f"**{clause['verdict']}**", clause["numbers"]


def _domain(domain: str, found: Mapping[str, Any], config: StudyConfig) -> list[str]:
    study = config.domains[domain]  # type: ignore[index]
    classes = ", ".join(f"{count} {name}" for name, count in found["classes"].items())
    lines = [f"## {domain}", ""]
    lines += [
        f"{found['cells']} cells ({classes}), {found['counted']} with enough items, {found['held']} held to the bar."
    ]
    lines += [f"\n{trace}: {spec.note}." for trace, spec in study.traces.items() if spec.note]
    lines += [f"\n{trace} is left out: {why}." for trace, why in study.left_out.items()]
    lines += ["", f"![cells](cells-{domain}.png)", "", f"![guarded against alone](scatter-{domain}.png)", ""]
    lines += ["### M1: tails over the fallback's", "", *_m1(found, domain), "", *_worst(found, domain), ""]
    lines += ["### M2, M3: gain retained, harm avoided, and the nulls", "", *_gain(found), ""]
    lines += ["### M4: availability", "", *_availability(found), ""]
    lines += ["### M5: intervention precision and recall", "", *_audit(found), ""]
    lines += ["### M6: time to detect", "", *_detection(found), "", "### M7: time to return", "", *_returns(found), ""]
    lines += ["### M8 to M11", "", *_small(found), ""]
    lines += ["### M12: faults of policies and sensors, adversaries", "", *_faults(found), ""]
    lines += ["### M13: margins swept on validation", "", *_frontier(found, domain), ""]
    lines += ["### M14: cells where both fail", "", *_unhealthy(found), ""]
    lines += ["### All cells", "", *_all(found, domain), ""]
    return lines


def _m1(found: Mapping[str, Any], domain: str) -> list[str]:
    rows = []
    for key in ("p99", "p999"):
        for tail in tail_names(domain):
            entry = found["M1"][f"{tail}.{key}"]
            if not entry["cells"]:
                rows.append((f"{tail} {_q(key)}", "0", "-", "-", "-", "-"))
                continue
            placebo = entry["placebo"]
            spread = "-" if not placebo["runs"] else f"{num(placebo['low'])} to {num(placebo['high'])}"
            largest = f"{num(entry['largest']['ratio'])} ({entry['largest']['cell']})"
            pooled = interval(entry["pooled"])
            rows.append((f"{tail} {_q(key)}", str(entry["cells"]), pooled, largest, spread, str(len(entry["above"]))))
    return _table(("tail", "cells", "pooled", "largest cell", "placebo", "lower bound above the bar"), rows)


def _worst(found: Mapping[str, Any], domain: str) -> list[str]:
    tail = MEASURES[domain].headline
    entry = found["M1"][f"{tail}.p99"]
    rows = sorted(entry.get("rows", []), key=lambda r: -(r["ratio"] or 1e9))[:WORST_SHOWN]
    if not rows:
        return ["No loaded cell counts."]
    shown = [(r["cell"], num(r["ratio"]), interval(r["interval"]), num(r["window"])) for r in rows]
    note = f"Worst cells by p99 {tail}; the placebo's own worst window is {num(entry['placebo'].get('window'))}."
    return [note, "", *_table(("cell", "ratio", "simultaneous interval", "worst window"), shown)]


def _gain(found: Mapping[str, Any]) -> list[str]:
    rows, lines = [], []
    for metric, entry in found["M2_M3"].items():
        cells = [metric, interval(entry["gain"]), _count(entry["gain"]), interval(entry["harm"]), _count(entry["harm"])]
        rows.append((*cells, interval(entry["gain_of_all_honest"])))
    header = (
        "metric",
        "gain retained (learned)",
        "cells",
        "harm avoided (all)",
        "cells",
        "gain retained (heuristics too)",
    )
    lines += [*_table(header, rows), ""]
    header = ("metric", "null", "over", "cells", "gain it keeps", "net gain", "guard ahead by (paired)", "beaten")
    nulls = [
        (
            metric,
            name,
            over,
            str(row["cells"]),
            num(row["gain"]),
            num(row["net"]),
            interval(row["guard_ahead_by"]),
            "yes" if row["beaten"] else "no",
        )
        for metric, entry in found["M2_M3"].items()
        for over, which in NULLS_OVER
        for name, row in entry[which].items()
    ]
    lines += ["Net gains and leads are in units of the cell's own fallback tail.", "", *_table(header, nulls)]
    cells = [
        (metric, r["cell"], pct(r["availability"]), *(num(r.get(a)) for a in NULL_COLUMNS))
        for metric, entry in found["M2_M3"].items()
        for r in entry["cells"]
    ]
    return [*lines, "", *_table(("metric", "cell", "availability", *NULL_COLUMNS), cells)]


NULLS_OVER = (
    ("cells where the policy is better", "nulls"),
    ("all cells", "nulls_everywhere"),
    ("all cells and those where the policy breaks", "nulls_insured"),
)
NULL_COLUMNS = ("unguarded", "guarded", "random-switch", "shifted-intervals", "static-gate", "hindsight-oracle")


def _availability(found: Mapping[str, Any]) -> list[str]:
    rows = []
    for r in found["M4"]:
        most = ", ".join(f"{name} {pct(share)}" for name, share in list(r["reasons"].items())[:4])
        rows.append((r["policy"], r["role"], str(r["cells"]), pct(r["availability"]), most or "-"))
    return _table(("policy", "role", "cells", "by the policy", "refused for"), rows)


def _audit(found: Mapping[str, Any]) -> list[str]:
    if not found["M5"]:
        return ["From `handrail guard audit RUN`; put its `audit.json` files into the study's folder `audits/`."]
    header = ("audit", "decisions", "precision", "recall")
    rows = [(r["name"], f"{r['decisions']:,}", interval(r["precision"]), interval(r["recall"])) for r in found["M5"]]
    return _table(header, rows)


def _detection(found: Mapping[str, Any]) -> list[str]:
    rows = [
        (
            r["cell"],
            f"{r['noticed']}/{r['replicates']}",
            num(r["intervened_s"]),
            num(r["intervened_decisions"]),
            f"{r['opened']}/{r['replicates']}",
            num(r["opened_s"]),
            str(r["harmed"]),
        )
        for r in found["M6"]["rows"]
    ]
    header = ("cell", "refused", "after s", "decisions", "opened", "after s", "items harmed until refused")
    alarms = [(r["policy"], num(r["hours"]), str(r["openings"]), num(r["per_h"])) for r in found["M6"]["alarms"]]
    title = "Openings where nothing goes wrong (false alarms, for a policy that is not broken):"
    return [*_table(header, rows), "", title, "", *_table(("policy", "hours", "openings", "per hour"), alarms)]


def _returns(found: Mapping[str, Any]) -> list[str]:
    rows = [
        (r["cell"], f"{r['returned']}/{r['replicates']}", num(r["after_s"]), str(r["harmed_by_probes"]))
        for r in found["M7"]
    ]
    return _table(("cell", "returned", "after s", "items harmed by probes"), rows)


def _small(found: Mapping[str, Any]) -> list[str]:
    flap, bound, cost = found["M8"], found["M9"], found["M10"]
    starvation, budget = bound["starvation"], bound["budget"]
    equal = sum(r["equal"] for r in found["M11"])
    apart = sum(r["two_processes"] for r in found["M11"])
    most = f"most {num(flap['most']['per_h'])} in {flap['most']['cell'] or '-'}"
    soon = f"headline p99 of {flap['after_switch_items']:,} items soon after a switch: {num(flap['after_switch'])}"
    passes = f"{starvation['violations']} violations in {starvation['runs']} runs"
    added = f"{num(cost['added_us'])} microseconds a decision beyond policy and fallback"
    proved = []
    if starvation["runs"]:
        proved.append(f"- M9: starvation bound: {passes} (most passes {starvation['most_passes']})")
    if budget["runs"]:
        proved.append(f"- M9: budget of misses: {budget['violations']} violations in {budget['runs']} runs")
    lines = [
        f"- M8: {num(flap['per_h'])} switches an hour, {most}; {soon} of the fallback's on the same items",
        *(proved or ["- M9: no run to which a proved bound applies"]),
        f"- M10: {added} (median of {cost['cells']} cells, most {num(cost['most_us'])}; wall clock)",
        f"- M11: {equal} of {len(found['M11'])} repeated runs have the same log hash ({apart} made by two processes)",
    ]
    delayed = cost["delayed_over_guarded"]
    if delayed:
        span = f"{num(delayed['low'])} to {num(delayed['high'])}"
        lines.append(f"- M10: with 100 us a decision injected, headline p99 is {span} of that without")
    return lines


def _faults(found: Mapping[str, Any]) -> list[str]:
    rows = [
        (
            r["cell"],
            r["role"],
            r["load"],
            num(r["unguarded"], "lost"),
            num(r["guarded"], "lost"),
            num(r["since_detection"]),
            num(r["placebo"]),
            f"{r['noticed']}/{r['replicates']}",
            num(r["after_s"]),
            pct(r["availability"]),
            {True: "yes", False: "no", None: "-"}[r["contained"]],
        )
        for r in found["M12"]
    ]
    header = ("cell", "role", "class", "alone", "guarded", "from detection on", "placebo there", "noticed", "after s")
    note = "Largest p99 ratio over the domain's tails, against the fallback under the same fault."
    note += " *Placebo there*: the largest ratio of a placebo on the same items."
    return [note, "", *_table((*header, "by the policy", "contained"), rows)]


def _frontier(found: Mapping[str, Any], domain: str) -> list[str]:
    points = found["M13"]
    if not points:
        return ["No sweep in this config."]
    rows = [
        (
            f"{p['factor']:g}",
            num(p["largest"], "lost"),
            num(p["gain"]),
            ", ".join(f"{k} {pct(v)}" for k, v in p["availability"].items()),
        )
        for p in points
    ]
    table = _table(("factor on margins", "largest p99 over the fallback's", "gain kept", "availability"), rows)
    return [*table, "", f"![frontier](frontier-{domain}.png)"]


def _unhealthy(found: Mapping[str, Any]) -> list[str]:
    rows = [(r["cell"], r["load"], pct(r["fallback"]), pct(r["guarded"])) for r in found["M14"][:MOST_ROWS]]
    return _table(("cell", "class", "attained: fallback", "guarded"), rows)


def _all(found: Mapping[str, Any], domain: str) -> list[str]:
    tails = tail_names(domain)
    rows = [
        (
            r["cell"],
            r["load"],
            f"{r['measured']:,}",
            pct(r["availability"]),
            *(f"{num(r['unguarded'].get(t), 'lost')} / {num(r['guarded'].get(t), 'lost')}" for t in tails),
            f"{r['lost_fallback']} / {r['lost_guarded']}",
        )
        for r in found["table"]
    ]
    header = ("cell", "class", "items", "by the policy", *(f"p99 {t}: alone / guarded" for t in tails))
    return _table((*header, "lost: fallback / guarded"), rows)


def _table(header: Row, rows: Iterable[Row]) -> list[str]:
    body = ["| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in rows]
    if not body:
        return ["None."]
    return ["| " + " | ".join(header) + " |", "|" + "---|" * len(header), *body]


def num(value: float | None, none: str = "-") -> str:
    """A number in few digits."""
    if value is None:
        return none
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}" if abs(value) < 1000 else f"{value:,.0f}"


def pct(value: float | None) -> str:
    """A share in per cent."""
    return "-" if value is None else f"{value:.1%}"


def interval(content: Mapping[str, Any] | None) -> str:
    """An estimate and its ends."""
    if content is None:
        return "-"
    ends = (
        "" if content["low"] is None or content["high"] is None else f" [{num(content['low'])}, {num(content['high'])}]"
    )
    return f"{num(content['estimate'])}{ends}"


def _count(content: Mapping[str, Any] | None) -> str:
    return "0" if content is None else str(content["cells"])


def _q(key: str) -> str:
    return {"p99": "p99", "p999": "p99.9"}[key]
