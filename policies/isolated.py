"""A policy in a process of its own, with a wall-clock time-out: what hangs, crashes or eats memory hurts nobody else.

Where an answer comes in time the policy behaves as in this process. Where it does not, the process is killed and the
decision is lost: it is reported as an infinite latency, which a guard's contract answers with ``latency-over-budget``
and the fallback's action. A new process is started with a backoff, counted in decisions that are lost meanwhile: 1, 2,
4, ... up to ``MAX_BACKOFF``. What the policy had learned in the old process is lost.

Wall-clock time decides here, so a run under isolation may come out otherwise on another machine. Say so beside its
results (:data:`NOT_REPRODUCIBLE`).
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..traces.errors import HandrailError
from .interface import Feedback

NOT_REPRODUCIBLE = "the policy ran in a process of its own under a wall-clock time-out: not reproducible"

MAX_BACKOFF = 1024
"""Most decisions that are lost before a process is started again."""

START_S = 60.0
"""Longest time that a new process may take until the policy stands, in seconds of wall time."""


class PolicyHung(Exception):
    """The policy gave no answer in time."""


class IsolatedPolicy:
    """A policy in a process of its own.

    Attributes:
        name: The policy's name.
        latency_s: Declared latency of the last decision, infinite where no answer came in time.
        hung: Decisions at which the time-out was reached.
        lost: Decisions without an answer, those of the backoff among them.
        needs_observation: As the policy says.

    Args:
        build: Makes the policy; picklable, called in the new process.
        timeout_s: Wall time that one decision may take, in seconds.

    Raises:
        HandrailError: The time-out is not above 0, or the policy cannot be built.
    """

    def __init__(self, build: Callable[[], Any], timeout_s: float) -> None:
        if not timeout_s > 0.0:
            raise HandrailError(f"an isolated policy's time-out must be above 0 seconds, got {timeout_s:g}")
        self._build = build
        self._timeout_s = timeout_s
        self._process: Any = None
        self._pipe: Any = None
        self._backoff = 1
        self._wait = 0
        self._heard: list[Feedback] = []
        self.hung = 0
        self.lost = 0
        self.latency_s = 0.0
        self.name = ""
        self.policy_hash = ""
        self.needs_observation = True
        self._start()

    def notify(self, feedback: Feedback) -> None:
        """Keep the feedback; it goes to the policy with the next observation."""
        mask = None if feedback.action_mask is None else feedback.action_mask.copy()
        self._heard.append(Feedback(feedback.now_s, feedback.decision, mask, tuple(feedback.outcomes)))

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """The policy's answer; without one in time action 0 at an infinite latency. Its state stays with it.

        Raises:
            RuntimeError: The policy raised; type and text are its message.
        """
        if self._process is None and not self._restarted():
            return self._no_answer(state)
        heard, self._heard = self._heard, []
        try:
            self._pipe.send((np.array(observation), heard, deterministic))
            answer = self._receive(self._timeout_s)
        except (PolicyHung, EOFError, OSError):
            self.hung += 1
            self._kill()
            self._wait = self._backoff
            self._backoff = min(2 * self._backoff, MAX_BACKOFF)
            return self._no_answer(state)
        kind, value, latency_s = answer
        if kind == "raised":
            raise value
        self.latency_s = latency_s
        return value, state

    def close(self) -> None:
        """End the process."""
        self._kill()

    def __del__(self) -> None:
        self._kill()

    def _no_answer(self, state: Any) -> tuple[int, Any]:
        self.lost += 1
        self.latency_s = float("inf")
        self._heard.clear()
        return 0, state

    def _restarted(self) -> bool:
        if self._wait > 0:
            self._wait -= 1
            return False
        try:
            self._start()
        except HandrailError:
            self._wait = self._backoff
            self._backoff = min(2 * self._backoff, MAX_BACKOFF)
            return False
        return True

    def _start(self) -> None:
        # Spawned, not forked: a thread of this process may hold a lock while a fork is taken.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._build), daemon=True)
        self._process.start()
        theirs.close()
        try:
            kind, value, _ = self._receive(START_S)
        except (PolicyHung, EOFError, OSError):
            self._kill()
            raise HandrailError(f"the policy's own process did not come up within {START_S:g} s") from None
        if kind == "raised":
            self._kill()
            raise value if isinstance(value, HandrailError) else HandrailError(f"the policy cannot be built: {value}")
        self.name, self.policy_hash, self.needs_observation = value

    def _receive(self, timeout_s: float) -> Any:
        if not self._pipe.poll(timeout_s):
            raise PolicyHung
        return self._pipe.recv()

    def _kill(self) -> None:
        process, self._process = getattr(self, "_process", None), None
        if process is not None:
            process.kill()
            process.join()
            self._pipe.close()


def _serve(pipe: Connection, build: Callable[[], Any]) -> None:
    """The process: build the policy, then answer until nobody asks any more."""
    try:
        policy = build()
    except Exception as error:
        pipe.send(("raised", _sendable(error), 0.0))
        return
    if hasattr(policy, "in_earnest"):
        policy.in_earnest = True
    named = str(getattr(policy, "name", type(policy).__name__))
    about = named, str(getattr(policy, "policy_hash", "") or ""), bool(getattr(policy, "needs_observation", True))
    pipe.send(("built", about, 0.0))
    notify, state = getattr(policy, "notify", None), None
    while True:
        try:
            observation, heard, deterministic = pipe.recv()
        except EOFError:
            return
        try:
            if notify is not None:
                for feedback in heard:
                    notify(feedback)
            answer = policy.predict(observation, state, None, deterministic)
            action, state = answer
            reply = ("answered", action, float(getattr(policy, "latency_s", 0.0)))
        except (Exception, SystemExit) as error:
            reply = ("raised", _sendable(error), 0.0)
        pipe.send(reply)


def _sendable(error: BaseException) -> BaseException:
    if isinstance(error, HandrailError):
        return HandrailError(str(error))
    return RuntimeError(f"{type(error).__name__}: {error}")
