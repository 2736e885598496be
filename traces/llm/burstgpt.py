"""Reader of BurstGPT (Wang et al., "BurstGPT: A Real-world Workload Dataset", arXiv:2401.17644).

Two column sets: parts 1 and 2 (``Timestamp, Model, Request tokens, Response tokens, Total tokens, Log Type``); part 3
with ``Session ID`` and ``Elapsed time``. Stamps are whole seconds; failed requests have 0 response tokens.
"""

from __future__ import annotations

import numpy as np

from ..common.columns import Table, check_stamps, labels, names_of, time_order, whole_numbers
from ..common.spread import spread_ties
from ..signatures import BURSTGPT
from .columns import ReadOptions, assemble
from .request_trace import MAX_TOKENS, RequestTrace

STAMP, PROMPT, OUTPUT = "Timestamp", "Request tokens", "Response tokens"
MODEL, TENANT, SESSION = "Model", "Log Type", "Session ID"


def read_burstgpt(table: Table, options: ReadOptions) -> RequestTrace:
    """Read it; ``tenant`` is the log type, time 0 the whole second of the first request.

    Where all stamps are whole seconds, requests are spread uniformly within their second (unless ``spread_seed`` is
    ``None``). Logged durations are not read: replay takes only what the system under test does not cause.

    Raises:
        TraceError: With line and field of whatever is missing or out of range.
    """
    table.require(BURSTGPT, "BurstGPT has it; fetch the file again, or name your columns with --map")
    texts = [column for column in (MODEL, TENANT, SESSION) if column in table.header]
    table.require(texts, "rename one")
    columns = table.read(BURSTGPT, texts)
    source = table.source
    stamp_s = columns[STAMP].to_numpy()
    check_stamps(stamp_s, source, table.place, STAMP)
    tokens = [whole_numbers(table, c, columns[c], low=0, high=MAX_TOKENS) for c in (PROMPT, OUTPUT)]
    order = time_order(stamp_s, source, table.place, STAMP, sort=options.sort)
    if order is not None:
        stamp_s = stamp_s[order]

    origin_s = float(np.floor(stamp_s[0]))
    arrival_s = stamp_s - origin_s
    notes: dict[str, object] = {"format": "burstgpt", "origin_s": origin_s}
    if options.spread_seed is not None and (stamp_s == np.floor(stamp_s)).all():
        arrival_s = spread_ties(arrival_s, 1.0, options.generator(0))
        notes["spread_s"] = 1.0

    optional = {}
    for column, attribute in ((TENANT, "tenant"), (MODEL, "model")):
        if column in columns:
            optional[attribute], optional[f"{attribute}_names"] = names_of(table, column, columns[column])
    if SESSION in columns:
        session_id, names = labels(columns[SESSION])
        optional["session_id"] = without_empty(session_id, names)
    return assemble(
        source,
        options,
        arrival_s=arrival_s,
        prompt_tokens=tokens[0],
        output_tokens=tokens[1],
        order=order,
        notes=notes,
        **optional,
    )


def without_empty(codes: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Session numbers in order of first appearance, -1 where the label is empty."""
    if "" not in names:
        return codes
    empty = names.index("")
    return np.where(codes == empty, -1, codes - (codes > empty))
