"""The Gymnasium environment of cache prefetching: which prefetcher runs, and how far ahead."""

from __future__ import annotations

from pathlib import Path
from typing import Any, SupportsInt

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from ...traces import AccessTrace, HandrailError, load_access_trace
from ..common import EpisodeWindows
from .config import CacheConfig
from .default_cache import default_cache
from .layout import layout_for
from .observer import PrefetchObserver
from .simulator import DecisionPoint, Outcome, PrefetchSimulator
from .warmth import rows_that_fill

Observation = NDArray[np.float32]


class CachePrefetchEnv(gym.Env[Observation, "np.int64 | NDArray[np.int64]"]):
    """Choose at intervals which prefetcher is in force in front of a shared, bandwidth-limited backing tier.

    ## Action space
    ``Discrete(A)``: an arm of ``cache.menu``, a prefetcher with its degree. The default menu has 14: ``none``,
    ``obl:1``, ``obl:8``, ``next-line:8``, ``stride:1``, ``stride:4``, ``stride:16``, ``spp:1``, ``spp:4``,
    ``readahead:32``, ``markov:1``, ``markov:4``, ``leap:8``, ``mithril:2``. The arm serves all tenants until the next
    step. With ``per_tenant`` it is ``MultiDiscrete([A] * T)``, an arm for each of the trace's T tenants; what is chosen
    for a tenant without accesses in the window has no effect. Every arm is legal at all times.

    A step covers ``cache.every_accesses`` accesses (64), or ``cache.every_s`` seconds.

    ## Observation space
    ``Box(A * 12 + 28,)``, float32, all bounds finite. With ``per_tenant`` the observations of the T tenants stand one
    after another, all zeros for a tenant without accesses in the window. `env.unwrapped.layout.describe()` prints the
    table of one:

    | per arm | unit | |
    |---|---|---|
    | up | 0/1 | legal: always 1 |
    | is_off | 0/1 | the row of ``none`` |
    | standing | 0/1 | what the standing scheme takes now |
    | current | 0/1 | what is in force |
    | degree | ids | fetched at an access, at most |
    | issue_rate, issue_rate_64 | ids an access | that it would newly fetch, over 512 and 64 accesses, in shadow |
    | coverage, coverage_64 | share | of the last 512 and 64 accesses, foreseen in shadow |
    | accuracy | share | coverage over issue_rate |
    | waste | ids an access | issue_rate less coverage |
    | lead | log2 accesses | mean between suggestion and use, in shadow |

    | global | unit | |
    |---|---|---|
    | tenant_share | share | of the accesses since the last decision |
    | hit_ratio | share | of the accesses of the last 8 decisions |
    | access_cost | unloaded misses | mean access latency of the last 8 decisions |
    | live_accuracy, lateness | share | of the prefetches that settled: used; of the used ones: late |
    | polluted_share | share | of the misses, on what a prefetch pushed out |
    | delta_entropy_64, _512 | share | entropy of the id differences over the largest possible |
    | stride_confidence_64, _512 | share | of the differences, equal to one of the 4 before |
    | sequential_512 | share | of the differences that are 1 |
    | new_512 | share | of accesses to ids never accessed before |
    | reuse_near_512, _mid_512, _far_512 | share | of accesses to ids of the last 256, 4096, of longer ago |
    | utilisation, utilisation_slow | share | of the tier's time: since the last decision, and over 16 decisions |
    | queueing_delay_s, queueing_delay | s, unloaded misses | that a fetch would wait now |
    | demand_share | share | of demand fetches in the tier's work |
    | outstanding, prefetches_in_flight | accesses, fetches | under way |
    | arrival_ratio | | rate of accesses over that of the last 64 decisions |
    | extra_fetches | | prefetches over demand misses |
    | cache_objects, decision_accesses | objects, accesses | capacity; most accesses before the next decision |
    | misses, ghost_misses | accesses | so far, and of a shadow cache under the standing scheme (with ``cache.ghost``) |

    *In shadow* means: counted beside the cache for every arm, whichever is in force. The shadow of an arm that reacts
    to the cache (``best-offset``, ``amp``) or knows the future (``oracle``) stays 0. Streams and shadows know the trace
    from its beginning, also where an episode starts later.

    ## Reward
    Over an episode the rewards sum to minus

        (sum of access latencies / unloaded miss + byte_weight * bytes moved / mean object) / reward_accesses

    with all latencies of the window's accesses; an unloaded miss is the tier's latency and service time; bytes moved
    between cache and backing tier are those of demand fetches, prefetches and write-backs; mean object is the mean size
    of the trace's accesses. So at 64 accesses a step a reward is minus the mean cost of an access in the step, where a
    miss costs about 1, and a useless prefetch ``byte_weight`` beside the waiting that it causes. Latency is charged
    to the step in which the access waits, bytes to the one in which they are asked for. An arm that floods the tier
    costs a thousand times as much as a good one, so train with rewards that are normalised and clipped.

    Steps of so many accesses take different times: ``info["dt_s"]`` is the simulated time that the reward covers, for
    those who discount in time (SMDP): use ``gamma ** (dt_s / tau_s)``.

    ## Episode
    A window of ``episode_accesses`` accesses of the trace's split, drawn from the environment's own seeded schedule, so
    that a vector environment's automatic resets keep moving through the trace. The episode terminates when the last
    access is done; that reward includes the time it took. With ``evaluate=True`` the whole split is one episode.

    The cache is not empty at the start: the ``warm_accesses`` accesses before the window go straight into it, without
    time and without prefetching, and cost nothing. By default they are as many as fill the cache. The tier is idle.

    ## Arguments
    trace: an ``AccessTrace``, a path, or ``bundled-cache``. cache: a ``CacheConfig``; by default LRU of 10 % of the
    trace's distinct objects, before a tier of which demand misses alone use 60 %, with obl under hysteresis as the
    standing scheme. split: ``train``, ``validation``, ``test`` or ``all`` of the trace's time (50, 20, 30 %).
    per_tenant: an arm for each tenant; by default what ``cache`` says. byte_weight: see the reward; reward_accesses:
    accesses that a reward is related to.

    ## Version history
    v0: first version.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012  (Gymnasium reads a plain dict)

    def __init__(
        self,
        trace: AccessTrace | str | Path = "bundled-cache",
        cache: CacheConfig | None = None,
        *,
        split: str = "train",
        episode_accesses: int = 8192,
        evaluate: bool = False,
        per_tenant: bool | None = None,
        warm_accesses: int | None = None,
        byte_weight: float = 0.1,
        reward_accesses: float = 64.0,
        seed: int = 0,
        render_mode: str | None = None,
    ) -> None:
        if render_mode not in (None, "ansi"):
            raise HandrailError(f"render_mode must be None or 'ansi', not {render_mode!r}")
        if not 0.0 <= byte_weight < float("inf") or not 0.0 < reward_accesses < float("inf"):
            raise HandrailError("byte_weight must be a number of at least 0, and reward_accesses one above 0")
        if warm_accesses is not None and warm_accesses < 0:
            raise HandrailError(f"warm_accesses must be at least 0, not {warm_accesses}")
        self.trace = trace if isinstance(trace, AccessTrace) else load_access_trace(trace)
        self.windows = EpisodeWindows(
            self.trace.arrival_s, split=split, items=None if evaluate else episode_accesses, seed=seed
        )
        cache = default_cache(self.trace) if cache is None else cache
        self.cache = cache if per_tenant is None else cache.model_copy(update={"per_tenant": per_tenant})
        self.warm_accesses = warm_accesses
        self.byte_weight = byte_weight
        self.reward_accesses = reward_accesses
        self.render_mode = render_mode
        self._per_latency_s = 1.0 / (self.cache.unloaded_miss_s * reward_accesses)
        self._per_byte = byte_weight / (float(self.trace.size_bytes.mean()) * reward_accesses)
        self.layout = layout_for(len(self.cache.menu))
        arms = self.layout.n_replicas
        self._tenants = self.trace.n_tenants if self.cache.per_tenant else 1
        if self.cache.per_tenant:
            self.action_space = spaces.MultiDiscrete([arms] * self._tenants)
        else:
            self.action_space = spaces.Discrete(arms)
        low, high = (np.tile(bound, self._tenants) for bound in (self.layout.low, self.layout.high))
        self.observation_space = spaces.Box(low, high, dtype=np.float32)
        self.simulator: PrefetchSimulator | None = None
        self._observer: PrefetchObserver | None = None
        self._point: DecisionPoint | None = None
        self._observation = low.copy()
        self._present: list[int] = []
        self._cost = 0.0
        self._at_s = 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start the next window of the schedule; a seed starts the schedule anew.

        ``options={"window": (start, stop)}`` replays these accesses of the trace instead.

        Raises:
            HandrailError: The options name something else or a window outside of the trace.
        """
        super().reset(seed=seed)
        if seed is not None:
            self.windows.restart(seed)
        options = dict(options or {})
        window = options.pop("window", None)
        if options:
            raise HandrailError(f"reset() option {next(iter(options))!r} is not known; there is 'window'")
        start, stop = self.windows.next() if window is None else self.windows.check(window)
        warm = rows_that_fill(self.trace, start, self.cache) if self.warm_accesses is None else self.warm_accesses
        warm = min(warm, start)
        simulator = PrefetchSimulator(self.cache, self.trace, decide="policy", rows=(start, stop), warm=warm)
        self.simulator = simulator
        self._observer = PrefetchObserver(simulator)
        tenant = self.trace.tenant
        self._present = [0] if tenant is None else np.unique(tenant[start:stop]).tolist()
        self._cost = 0.0
        self._at_s = 0.0
        point = simulator.advance()
        assert point is not None
        self._point = point
        self._observation = self._observe(self._observer, point)
        return self._observation, {"window": (start, stop), "warm_accesses": warm, "dt_s": 0.0}

    def step(self, action: SupportsInt | NDArray[Any]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Put the arms in force and run on to the next decision, or to the episode's end.

        Raises:
            HandrailError: No episode is running, or the action is none of the action space.
        """
        simulator, point, observer = self.simulator, self._point, self._observer
        if simulator is None or point is None or observer is None:
            raise HandrailError("step() needs reset() first: no episode is running")
        outcomes: list[Outcome] = []
        for arm in self._arms_of(action):
            simulator.apply(arm)
            point = simulator.advance()
            outcomes += point.outcomes if point is not None else ()
        self._point = point
        now_s = simulator.now_s
        moved = sum(simulator.tier.submitted_bytes)
        cost = simulator.cost_s(now_s) * self._per_latency_s + moved * self._per_byte
        reward = self._cost - cost
        self._cost = cost
        info: dict[str, Any] = {"dt_s": now_s - self._at_s}
        self._at_s = now_s
        if point is None:
            return self._observation, reward, True, False, info
        self._observation = self._observe(observer, point)
        info["outcomes"] = tuple(outcomes)
        return self._observation, reward, False, False, info

    def _arms_of(self, action: SupportsInt | NDArray[Any]) -> list[int]:
        """The arms in the order in which the simulator asks for them."""
        if not self.cache.per_tenant:
            return [int(action)]  # type: ignore[arg-type]
        chosen = np.asarray(action)
        if chosen.shape != (self._tenants,):
            raise HandrailError(f"an action has an arm for each of {self._tenants} tenants, not {action!r}")
        return chosen[self._present].tolist()

    def _observe(self, observer: PrefetchObserver, point: DecisionPoint) -> Observation:
        """What is seen at the decision points of one moment, the first of which is ``point``."""
        if not self.cache.per_tenant:
            return observer(point)
        seen = np.zeros((self._tenants, self.layout.size), dtype=np.float32)
        for tenant in self._present:
            seen[tenant] = observer(point._replace(tenant=tenant))
        return seen.ravel()

    def action_masks(self) -> NDArray[np.bool_]:
        """Which actions are legal, shape (A,) or (T * A,): all of them."""
        return np.ones(self._tenants * self.layout.n_replicas, dtype=bool)

    def render(self) -> str | None:  # type: ignore[override]
        """A few lines on the state, with ``render_mode="ansi"``."""
        if self.render_mode != "ansi":
            return None
        simulator = self.simulator
        if simulator is None or self._point is None:
            return "no episode is running"
        layout = self.layout
        lines = []
        for tenant, seen in enumerate(self._observation.reshape(self._tenants, layout.size)):
            name = f"   {self.trace.tenant_names[tenant]}" if self.cache.per_tenant and self.trace.tenant_names else ""
            lines.append(
                f"t = {self._point.now_s:,.3f} s{name}   hit ratio {layout.scalar(seen, 'hit_ratio'):.3f}   "
                f"tier {layout.scalar(seen, 'utilisation'):.2f} in use"
            )
            current = layout.replica(seen, "current")
            for row, arm in enumerate(simulator.arms):
                values = [layout.replica(seen, field)[row] for field in ("issue_rate", "coverage", "accuracy")]
                numbers = "   ".join(f"{value:6.3f}" for value in values)
                lines.append(f"{'*' if current[row] else ' '} {arm.label:16s} {numbers}")
        return "\n".join(lines)
