"""The Gymnasium environment of LLM request routing: the simulator's loop, seen from the policy's side."""

from __future__ import annotations

import math
from typing import Any, SupportsInt

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from ...traces import HandrailError, RequestTrace, load_trace
from ..common import EpisodeWindows
from .config import FleetConfig
from .observer import RouterObserver
from .simulator import DecisionPoint, Outcome, ServingSimulator

DEFAULT_FLEET = "h100:2,a100:2"

DEFAULT_RATE_FACTOR = 60.6
"""Brings the bundled trace to 0.8 of the default fleet's capacity; a test measures it (`test_default_load.py`)."""


class LLMRoutingEnv(gym.Env[NDArray[np.float32], np.int64]):
    """Route each arriving request to a replica of an LLM serving fleet.

    ## Action space
    ``Discrete(R)``: the replica that takes the request. ``action_masks()`` says which replicas are up (sb3-contrib's
    ``MaskablePPO`` uses it). An action that is not legal goes to the first legal replica, costs ``illegal_penalty`` and
    is told in ``info["illegal"]``.

    ## Observation space
    ``Box(R * 12 + 5,)``, float32, all bounds finite. `env.unwrapped.layout.describe()` prints the table:

    | per replica | unit | |
    |---|---|---|
    | up | 0/1 | takes requests |
    | waiting, running | requests | as last reported |
    | waiting_ktokens | 1,000 tokens | prompt tokens not yet computed, as last reported |
    | kv_fraction | share | KV tokens in use, from the last report |
    | inflight | requests | sent there and not ended: the router's own count |
    | inflight_prefill_ktokens | 1,000 tokens | sent there without a first token yet: the router's own count |
    | drain_s | s | estimated time until all that was sent there is done |
    | ttft_s | s | expected time to this request's first token there |
    | prefill_s, decode_step_s | s | speed: this prompt alone, and a decode step with this request |
    | prefix_fraction | share | of this prompt, believed cached there |

    | global | unit | |
    |---|---|---|
    | prompt_ktokens | 1,000 tokens | this request's prompt |
    | output_estimate_ktokens | 1,000 tokens | mean output of its class so far |
    | rate_10s, rate_60s | requests/s | arrivals, exponentially weighted |
    | outage_fraction | share | replicas that are down |

    Reports are ``telemetry_delay_s`` old (0.1 s by default). Output lengths are not visible.

    ## Reward
    Minus the latency charged since the last step: ``ttft_weight`` times the request seconds spent before a first token
    plus ``e2e_weight`` times the request seconds spent in the system, divided by ``cost_scale_s``. Over an episode they
    sum to the weighted sums of TTFT and E2E over all its requests. A rejected request costs ``illegal_penalty``.
    Steps are arrivals, so time steps vary: ``info["dt_s"]`` is the simulated time that the reward covers, for those who
    discount in time (SMDP): use ``gamma ** (dt_s / tau_s)``.

    ## Episode
    A window of ``episode_requests`` requests of the trace's split, drawn from the environment's own seeded schedule, so
    that a vector environment's automatic resets keep moving through the trace. The episode terminates when the last
    request of the window has ended; that reward includes the time it took. With ``evaluate=True`` the whole split is
    one episode.

    ## Arguments
    trace: a ``RequestTrace``, a path or a catalogue name; fleet: a ``FleetConfig`` or text such as ``h100:2,a100:2``;
    rate_factor: superposes and thins the trace to this multiple of its rate; split: ``train``, ``validation``, ``test``
    or ``all`` of the trace's time (50, 20 and 30 %).

    ## Version history
    v0: first version.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012  (Gymnasium reads a plain dict)

    def __init__(
        self,
        trace: RequestTrace | str = "bundled",
        fleet: FleetConfig | str = DEFAULT_FLEET,
        *,
        rate_factor: float | None = None,
        split: str = "train",
        episode_requests: int = 512,
        evaluate: bool = False,
        ttft_weight: float = 1.0,
        e2e_weight: float = 0.1,
        cost_scale_s: float = 1.0,
        illegal_penalty: float = 1.0,
        seed: int = 0,
        render_mode: str | None = None,
    ) -> None:
        if render_mode not in (None, "ansi"):
            raise HandrailError(f"render_mode must be None or 'ansi', not {render_mode!r}")
        if cost_scale_s <= 0 or ttft_weight < 0 or e2e_weight < 0 or illegal_penalty < 0:
            raise HandrailError("cost_scale_s must be positive and the weights and illegal_penalty not negative")
        self.fleet = fleet if isinstance(fleet, FleetConfig) else FleetConfig.parse(fleet)
        if rate_factor is None:
            rate_factor = DEFAULT_RATE_FACTOR if isinstance(trace, str) and trace == "bundled" else 1.0
        loaded = load_trace(trace) if isinstance(trace, str) else trace
        self.trace = _at_rate(loaded, rate_factor, seed)
        self.windows = EpisodeWindows(
            self.trace.arrival_s, split=split, items=None if evaluate else episode_requests, seed=seed
        )
        self.ttft_weight = ttft_weight
        self.e2e_weight = e2e_weight
        self.cost_scale_s = cost_scale_s
        self.illegal_penalty = illegal_penalty
        self.render_mode = render_mode
        probe = RouterObserver(ServingSimulator(self.fleet, self.trace.head(0)))
        self.layout = probe.layout
        self.action_space = spaces.Discrete(self.layout.n_replicas)
        self.observation_space = spaces.Box(self.layout.low, self.layout.high, dtype=np.float32)
        self.simulator: ServingSimulator | None = None
        self._observer = probe
        self._point: DecisionPoint | None = None
        self._observation = self.layout.low.copy()
        self._cost_s = 0.0
        self._at_s = 0.0
        self._outcomes: list[Outcome] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start the next window of the schedule; a seed starts the schedule anew.

        ``options={"window": (start, stop)}`` replays these requests of the trace instead.

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
        rows = np.arange(start, stop)
        arrival_s = self.trace.arrival_s[start:stop]
        part = self.trace.take(rows, arrival_s - arrival_s[0])
        self.simulator = ServingSimulator(self.fleet, part)
        self._observer = RouterObserver(self.simulator)
        self._cost_s = 0.0
        self._at_s = 0.0
        self._point = self.simulator.advance()
        assert self._point is not None
        self._observation = self._observer(self._point)
        return self._observation, {"window": (start, stop), "dt_s": 0.0}

    def step(self, action: SupportsInt | NDArray[Any]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Send the request at hand to replica ``action`` and run on to the next arrival, or to the episode's end."""
        simulator, point = self.simulator, self._point
        if simulator is None or point is None:
            raise HandrailError("step() needs reset() first: no episode is running")
        replica = int(action)  # type: ignore[arg-type]
        info: dict[str, Any] = {}
        penalty = 0.0
        if not 0 <= replica < self.layout.n_replicas or not point.action_mask[replica]:
            info["illegal"] = True
            penalty = self.illegal_penalty
            replica = int(np.argmax(point.action_mask))
        rejected = simulator.rejected
        simulator.apply(replica)
        next_point = simulator.advance()
        in_system_s, before_token_s = simulator.cost_s()
        cost_s = self.ttft_weight * before_token_s + self.e2e_weight * in_system_s
        penalty += self.illegal_penalty * (simulator.rejected - rejected)
        reward = -(cost_s - self._cost_s) / self.cost_scale_s - penalty
        self._cost_s = cost_s
        info["dt_s"] = simulator.now_s - self._at_s
        self._at_s = simulator.now_s
        self._point = next_point
        terminated = next_point is None
        if next_point is not None:
            self._observation = self._observer(next_point)
            info["outcomes"] = next_point.outcomes
        return self._observation, reward, terminated, False, info

    def action_masks(self) -> NDArray[np.bool_]:
        """Which replicas are up, shape (R,)."""
        if self._point is None:
            return np.ones(self.layout.n_replicas, dtype=bool)
        return self._point.action_mask.copy()

    def render(self) -> str | None:  # type: ignore[override]
        """A few lines on the state, with ``render_mode="ansi"``."""
        if self.render_mode != "ansi":
            return None
        if self.simulator is None or self._point is None:
            return "no episode is running"
        layout, seen = self.layout, self._observation
        lines = [f"t = {self._point.now_s:.3f} s   request of {self._point.prompt_tokens} prompt tokens"]
        kv_fraction, drain_s = layout.replica(seen, "kv_fraction"), layout.replica(seen, "drain_s")
        for r, config in enumerate(self.fleet.replicas):
            lines.append(
                f"replica {r} {config.gpu:8s} in flight {layout.replica(seen, 'inflight')[r]:5.0f}"
                f"   KV {kv_fraction[r]:6.1%}   drain {drain_s[r]:8.3f} s"
            )
        return "\n".join(lines)


def _at_rate(trace: RequestTrace, factor: float, seed: int) -> RequestTrace:
    """Time-shifted copies of the trace on top of each other, thinned to ``factor`` times its rate."""
    if not (math.isfinite(factor) and factor > 0.0):
        raise HandrailError(f"rate_factor must be a positive number, not {factor}")
    copies = math.ceil(factor)
    if copies > 1:
        trace = trace.superpose(copies, seed)
    return trace.thin(factor / copies, seed) if factor < copies else trace
