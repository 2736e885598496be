"""The observation of the LLM router: per replica what it reports and what the router knows, then the request."""

from __future__ import annotations

from ..common import Field, Layout

REPLICA_FIELDS = (
    Field("up", 0, 1, "1 while the replica takes requests"),
    Field("waiting", 0, 1e5, "requests waiting for admission, as last reported"),
    Field("waiting_ktokens", 0, 1e6, "thousand prompt tokens not yet computed, as last reported"),
    Field("running", 0, 1e5, "sequences running, as last reported"),
    Field("kv_fraction", 0, 1, "share of KV tokens in use, as last reported"),
    Field("inflight", 0, 1e5, "requests that the router sent there and that have not ended"),
    Field("inflight_prefill_ktokens", 0, 1e6, "thousand prompt tokens sent there without a first token yet"),
    Field("drain_s", 0, 1e5, "estimated seconds until all that was sent there is done, if nothing more comes"),
    Field("ttft_s", 0, 1e5, "expected seconds until this request's first token there"),
    Field("prefill_s", 0, 1e4, "seconds to compute this request's new prompt tokens there, alone"),
    Field("decode_step_s", 0, 1e3, "predicted seconds a decode step takes there once this request joins"),
    Field("prefix_fraction", 0, 1, "share of this prompt that the router believes cached there"),
)
GLOBAL_FIELDS = (
    Field("prompt_ktokens", 0, 1e4, "thousand prompt tokens of this request"),
    Field("output_estimate_ktokens", 0, 1e4, "thousand output tokens expected of this request's class"),
    Field("rate_10s", 0, 1e5, "arrivals a second, exponentially weighted over 10 s"),
    Field("rate_60s", 0, 1e5, "arrivals a second, exponentially weighted over 60 s"),
    Field("outage_fraction", 0, 1, "share of replicas that are down"),
)

TELEMETRY_FIELDS = ("waiting", "waiting_ktokens", "running", "kv_fraction", "drain_s", "ttft_s", "decode_step_s")
"""Per-replica fields that depend on what replicas report, so that a fault of the reporting corrupts them.

The others stand in the router's own books (what it sent, what came back) or in the request itself.
"""


def layout_for(n_replicas: int) -> Layout:
    """The router's observation layout for a fleet of ``n_replicas``."""
    return Layout(REPLICA_FIELDS, GLOBAL_FIELDS, n_replicas)
