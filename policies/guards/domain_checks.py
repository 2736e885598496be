"""Which fields are telemetry in each domain, and which are looked at for novelty: configs by domain.

The numbers of ``plausibility`` are several times what clean runs of the bundled traces reach, under the fallback and
under a random policy.
"""

from __future__ import annotations

from .checks import NoveltyConfig, PlausibilityConfig

MOST_DELAY_S = 1.0
"""Up to this age of reports the router's own books say about the same as they do."""


def routing_plausibility(telemetry_delay_s: float = 0.1) -> PlausibilityConfig:
    """Plausibility of what serving replicas report to a router.

    Clean runs: reports stand still for at most 0.09 s and 15 decisions at which the books move; reported and booked
    requests of a replica, both averaged over 25 decisions, differ by at most 0.32 of the booked ones and 2 (validation
    parts of five traces at loads of 0.55 to 1); where reports are mirrored in the fleet they mostly differ by more than
    1.0 of that. Reports that are older than ``MOST_DELAY_S`` are not compared with the books.

    Args:
        telemetry_delay_s: Age of what replicas report, in seconds.
    """
    booked = telemetry_delay_s <= MOST_DELAY_S
    return PlausibilityConfig(
        telemetry_fields=("waiting", "waiting_ktokens", "running"),
        own_fields=("inflight", "inflight_prefill_ktokens"),
        frozen_decisions=20,
        frozen_s=max(1.0, 10.0 * telemetry_delay_s),
        reported_fields=("waiting", "running") if booked else (),
        booked_field="inflight" if booked else "",
        books_absolute=1.2,
        books_relative=0.6,
        books_decisions=25,
        implausible_s=max(1.0, 10.0 * telemetry_delay_s),
    )


def scheduling_plausibility() -> PlausibilityConfig:
    """Plausibility of what a cluster reports to its scheduler.

    Clean runs: in a full cluster one job ends and one of the same size starts, so that nothing changes over at most 115
    decisions and 4,055 s.
    """
    return PlausibilityConfig(
        telemetry_fields=("free_share", "running_jobs", "fragmentation"),
        own_fields=("waiting_jobs", "load_6h"),
        frozen_decisions=500,
        frozen_s=21_600.0,
        implausible_s=0.0,
    )


def prefetch_plausibility() -> PlausibilityConfig:
    """Plausibility of what cache and backing tier report; what is known beside is the stream of accesses.

    Clean runs: these numbers never stand still from one moment of decision to the next.
    """
    return PlausibilityConfig(
        telemetry_fields=("utilisation", "utilisation_slow", "queueing_delay_s", "access_cost", "misses"),
        own_fields=("tenant_share", "delta_entropy_64", "delta_entropy_512", "arrival_ratio"),
        frozen_decisions=16,
        frozen_s=0.0,
        implausible_s=0.0,
    )


ROUTING_NOVELTY = NoveltyConfig(
    global_fields=("prompt_ktokens", "output_estimate_ktokens", "rate_10s", "rate_60s", "outage_fraction"),
    replica_fields=("waiting", "running", "kv_fraction", "inflight", "drain_s", "ttft_s", "decode_step_s"),
)
SCHEDULING_NOVELTY = NoveltyConfig(
    global_fields=(
        "free_share",
        "running_jobs",
        "waiting_jobs",
        "waiting_hours",
        "load_6h",
        "head_wait_s",
        "fragmentation",
        "down_share",
    ),
    replica_fields=("size_share", "estimate_s", "slowdown"),
)
PREFETCH_NOVELTY = NoveltyConfig(
    global_fields=(
        "hit_ratio",
        "access_cost",
        "delta_entropy_64",
        "delta_entropy_512",
        "stride_confidence_64",
        "stride_confidence_512",
        "sequential_512",
        "new_512",
        "reuse_near_512",
        "reuse_mid_512",
        "utilisation_slow",
        "queueing_delay",
        "arrival_ratio",
    ),
    replica_fields=("issue_rate", "coverage", "waste"),
)
