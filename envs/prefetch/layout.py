"""The observation of a prefetch policy: a row an arm, then the tenant's stream, the tier and the counts so far."""

from __future__ import annotations

from ..common import Field, Layout

ARM_FIELDS = (
    Field("up", 0, 1, "1: every arm is legal at all times"),
    Field("is_off", 0, 1, "1 in the row of none"),
    Field("standing", 0, 1, "1 in the row that the standing scheme takes now"),
    Field("current", 0, 1, "1 in the row that is in force"),
    Field("degree", 0, 64, "suggestions fetched at an access, at most"),
    Field("issue_rate", 0, 64, "ids that the arm would newly fetch an access, over the last 512 accesses, in shadow"),
    Field("coverage", 0, 1, "share of the last 512 accesses that it foresaw, in shadow"),
    Field("accuracy", 0, 1, "coverage over issue_rate (at most 1); 0 where it suggests nothing"),
    Field("issue_rate_64", 0, 64, "issue_rate over the last 64 accesses"),
    Field("coverage_64", 0, 1, "coverage over the last 64 accesses"),
    Field("waste", 0, 64, "issue_rate less coverage, at least 0: fetches an access that nobody uses"),
    Field("lead", 0, 10, "mean log2 of accesses between suggestion and use, over the last 512 accesses, in shadow"),
)
GLOBAL_FIELDS = (
    Field("tenant_share", 0, 1, "the tenant's share of the accesses since the last decision"),
    Field("hit_ratio", 0, 1, "share of its accesses that hit, over its last 8 decisions"),
    Field("access_cost", 0, 1e6, "mean access latency of the last 8 decisions over an unloaded miss"),
    Field("live_accuracy", 0, 1, "share of its prefetches that settled as used, over its last 8 decisions; 0: none"),
    Field("lateness", 0, 1, "share of its used prefetches that came late, over its last 8 decisions"),
    Field("polluted_share", 0, 1, "share of its misses on what a prefetch pushed out, over its last 8 decisions"),
    Field("delta_entropy_64", 0, 1, "entropy of its last 64 id differences over the largest possible"),
    Field("delta_entropy_512", 0, 1, "the same over 512 accesses"),
    Field("stride_confidence_64", 0, 1, "share of its last 64 differences that repeat one of the 4 before"),
    Field("stride_confidence_512", 0, 1, "the same over 512 accesses"),
    Field("sequential_512", 0, 1, "share of its last 512 differences that are 1"),
    Field("new_512", 0, 1, "share of its last 512 accesses to ids that it never accessed before"),
    Field("reuse_near_512", 0, 1, "share of its last 512 accesses to ids of its last 256 accesses"),
    Field("reuse_mid_512", 0, 1, "the same for its last 4096, less the near ones"),
    Field("reuse_far_512", 0, 1, "the same for what it accessed before that"),
    Field("utilisation", 0, 1, "share of the backing tier's time in use since the last decision"),
    Field("utilisation_slow", 0, 1, "the same, exponentially weighted over 16 decisions"),
    Field("queueing_delay_s", 0, 1e6, "what a fetch would wait now at the backing tier (first come first served)"),
    Field("queueing_delay", 0, 1e6, "the same over an unloaded miss"),
    Field("demand_share", 0, 1, "share of demand fetches in the tier's work since the last decision"),
    Field("outstanding", 0, 1e6, "demand accesses under way"),
    Field("prefetches_in_flight", 0, 1e6, "prefetches under way"),
    Field("arrival_ratio", 0, 1e3, "accesses a second since the last decision over those of the last 64 decisions"),
    Field("extra_fetches", 0, 64, "prefetches over demand fetches, of its last 8 decisions"),
    Field("cache_objects", 0, 1e9, "objects that the cache can hold; 0 where it counts bytes"),
    Field("decision_accesses", 0, 1e6, "most accesses before the next decision; 0 where time sets it"),
    Field("misses", 0, 16_777_216, "demand misses so far (exact up to the bound, and clipped there)"),
    Field("ghost_misses", 0, 16_777_216, "those of a shadow cache under the standing scheme; 0 where none runs"),
)

TELEMETRY_FIELDS = (
    "issue_rate",
    "coverage",
    "accuracy",
    "issue_rate_64",
    "coverage_64",
    "waste",
    "lead",
    "hit_ratio",
    "access_cost",
    "live_accuracy",
    "lateness",
    "polluted_share",
    "utilisation",
    "utilisation_slow",
    "queueing_delay_s",
    "queueing_delay",
    "demand_share",
    "outstanding",
    "prefetches_in_flight",
    "extra_fetches",
    "misses",
    "ghost_misses",
)
"""Fields that are measured: what the tier, the cache's counters and the shadows report. A sensor that fails corrupts
these. The others are known without one: the menu and what is in force (up, is_off, standing, current, degree), the
config (cache_objects, decision_accesses), and the stream of accesses, which passes through whoever decides."""


def layout_for(arms: int) -> Layout:
    """The observation layout for a menu of ``arms`` arms."""
    return Layout(ARM_FIELDS, GLOBAL_FIELDS, arms)
