"""The ghost-cache budget: misses against those of a shadow cache that runs the fallback."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ....envs.common.layout import Layout
from ..context import CheckContext
from ..verdict import Verdict, accepted_by
from .base import CheckModel, Stage

EXACT_COUNTS = float(1 << 24)
"""Up to here single precision holds every count."""

FIELDS = ("misses", "ghost_misses", "cache_objects", "decision_accesses")


class BudgetConfig(CheckModel):
    """Config of :class:`BudgetCheck`.

    Attributes:
        excess_share: eps: misses that are allowed beyond the fallback's, as a share of these.
        budget_caches: b: misses that are allowed beyond that, in units of the cache's capacity in objects.
        discount: gamma: factor on past counts at each decision; 1 counts everything alike.
    """

    check: Literal["budget"] = "budget"
    excess_share: float = Field(default=0.05, ge=0)
    budget_caches: float = Field(default=1.5, ge=0)
    discount: float = Field(default=1.0, gt=0, le=1)

    @model_validator(mode="after")
    def _discounted_budget_covers_a_takeover(self) -> Self:
        if self.discount < 1.0 and self.budget_caches < 1.0:
            raise ValueError("a discounted budget must be at least one cache (budget_caches >= 1)")
        return self


class BudgetCheck:
    """Lets the policy rule only while the misses leave the reserve that a takeover needs.

    *Words.* k: objects that the cache holds. m: most accesses, of all tenants, between two decisions. C_g: demand
    misses of the real cache so far. C_f: those of the ghost, a cache of the same size and eviction rule that has seen
    the same accesses under the fallback's arms alone. B = ``budget_caches`` x k, eps = ``excess_share``. Decisions at
    one moment (one a tenant) see the same counts and are one decision here.

    *Rule.* The policy is asked only where

        (1 + eps) C_f + B - C_g >= k + m;

    elsewhere the fallback takes over until the next decision.

    *Statement.* At every access, C_g <= (1 + eps) C_f + B.

    *Assumptions.* (a) Timeless replay: every fetch has arrived before the next access, so an access misses or hits by
    the cache's contents alone; demand does not depend on the policy. (b) Object mode: each object counts 1. (c) All
    prefetchers of the menu are demand-driven: suggestions are a function of the accesses. What exists behind the cache
    is too. (d) Decisions come every so many accesses and take effect at once. (e) The fallback puts in force the arms
    that the ghost runs. (f) The observation's counts are true. (g) A takeover costs at most k: from whatever contents
    the two caches start, under the fallback's arms the real one misses at most k times where the ghost hits. This
    holds in each of these cases:

    1. LRU, and a suggestion counts as a reference whether or not the object is there: what is absent is put in, what is
       there is moved to the recent end, one suggestion after another in their order (``prefetch_touches`` in the
       cache's config). Or the fallback's arm is ``none``.
    2. Any eviction rule, if the ghost's contents (and the rule's own state) are restored in the real cache whenever the
       fallback's arms come into force, and every object that has to be fetched for that is charged to C_g.

    *Proof of (g).* Case 2: after at most k charges the two caches are equal, and stay so. (Where that happens while the
    policy may rule, as another check objects, s >= m is left and a later takeover costs nothing.)

    Case 1: both caches take the same string of references (demand and suggestions), and LRU holds the k objects that
    were referenced last. So an object that was referenced since the takeover is in both caches if fewer than k others
    were referenced since, else in neither. Where the real cache misses and the ghost hits, the object was therefore not
    referenced since the takeover, but was in the ghost's contents then; it is referenced now. So each such access uses
    up another one of at most k objects. Where the ghost misses and the real cache hits, the account only improves: so
    the excess over any stretch of the takeover, and with any weights of at most 1, is at most k.

    *Proof.* Let s = (1 + eps) C_f + B - C_g; C_f never falls. At the start s = B >= 0 and both caches are empty (or
    equal), so under the fallback C_g grows as C_f does. Where the policy rules until the next decision, s >= k + m
    before; at most m misses come, so s >= k at every access of it and at its end. From there, or from the start, a
    takeover costs at most k by (g): s >= 0 until the policy rules again, which takes s >= k + m. By induction over the
    changes of rule, s >= 0 always.

    *It does not hold* if a suggestion that is there is left where it stands, as hit-ratio simulators have it. LRU, k =
    4, next-line of degree 2 (x suggests x + 1 and x + 2), demand 1, 1 and then 2, 0, 2, 0 and so on: the ghost misses
    twice in all. Prefetch nothing in the first two accesses, and the real cache misses at every 0 for ever, since each
    2 finds 3 and 4 gone and the second of them pushes 0 out; in the ghost one of them is there. (For k of 1 or 2 it
    holds, by exhaustion; k = 3 has examples too.) Nor does it hold for FIFO, CLOCK, LFU, ARC, SIEVE and S3-FIFO without
    restored contents, in byte mode, in closed loops, or where fetches take time: there the check still hands over by
    the same rule, as a heuristic. Following the policy while s >= 0, without the reserve, does not keep the bound.

    *Discounted* (gamma < 1): past counts are multiplied by gamma at each decision (before its accesses), so D_g and D_f
    stand for C_g and C_f, both in the rule and in the statement: D_g <= (1 + eps) D_f + B at every access. It needs B
    >= k. A cumulative budget banks credit in good times that a policy can spend in bad ones; a discounted one forgets
    it, and bounds nothing but the discounted count. Proof: with s as before, discounting turns s into gamma s + (1 -
    gamma) B >= min(s, B). Where the policy rules, s >= k at the end as before, and >= min(k, B) = k after the discount.
    In a takeover from s_0 >= k, after j discounts, s >= gamma^j s_0 + (1 - gamma^j) B - k >= min(s_0, B) - k >= 0, as
    the excess with weights of at most 1 is at most k.

    Reason codes: ``budget-spent``; ``budget-unknown`` (a count is not a number, or negative), ``budget-no-objects``
    (the cache counts bytes), ``budget-no-accesses`` (time sets the decisions), ``budget-no-ghost`` (no shadow cache
    runs: there were misses, and it had none), ``budget-count-limit`` (a count beyond what the observation holds
    exactly, 16,777,216 or the field's bound). For all of them the fallback takes over, and the policy is not asked.
    """

    name = "budget"
    stage: Stage = "outcomes"
    cost_us = 2.0
    fault = False

    def __init__(self, config: BudgetConfig, layout: Layout) -> None:
        # A layout without these fields is the user's mistake now.
        self._limits = [min(layout.scalar(layout.high, field), EXACT_COUNTS) for field in FIELDS]
        self._config = config
        self._layout = layout
        self._accept = accepted_by(self.name)
        self._moment: tuple[float, float, float] | None = None
        self._seen = (0.0, 0.0)
        self._real = 0.0
        self._ghost = 0.0

    def judge(self, context: CheckContext) -> Verdict:
        """Judge by the counts so far whether the policy may be asked. To be called at every decision from number 0."""
        counts = [self._layout.scalar(context.observation, field) for field in FIELDS]
        reason = self._unfit(counts)
        if reason:
            return Verdict("veto", self.name, reason)
        real, ghost, objects, accesses = counts
        self._take_in(context.now_s, real, ghost)
        config = self._config
        slack = (1.0 + config.excess_share) * self._ghost + config.budget_caches * objects - self._real
        reserve = objects + accesses
        if slack >= reserve:
            return self._accept
        evidence = (("misses", self._real), ("ghost_misses", self._ghost), ("slack", slack), ("reserve", reserve))
        return Verdict("veto", self.name, "budget-spent", evidence)

    def _unfit(self, counts: list[float]) -> str:
        """Why the counts allow no judgement, as a reason code; empty where they do."""
        if not all(count >= 0.0 for count in counts):
            return "budget-unknown"
        if any(count >= limit for count, limit in zip(counts, self._limits, strict=True)):
            return "budget-count-limit"
        real, ghost, objects, accesses = counts
        if objects == 0.0:
            return "budget-no-objects"
        if accesses == 0.0:
            return "budget-no-accesses"
        return "budget-no-ghost" if real > 0.0 and ghost == 0.0 else ""

    def _take_in(self, now_s: float, real: float, ghost: float) -> None:
        """Add what was counted since the last moment, and discount, once a moment."""
        moment = (now_s, real, ghost)
        if moment == self._moment:
            return
        self._moment = moment
        before_real, before_ghost = self._seen
        self._real = self._config.discount * (self._real + real - before_real)
        self._ghost = self._config.discount * (self._ghost + ghost - before_ghost)
        self._seen = real, ghost
