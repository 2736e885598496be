"""Calling one function on many inputs, in this process or in several, with the results in the order of the inputs."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from ..traces.errors import HandrailError

Item = TypeVar("Item")
Value = TypeVar("Value")

_function: Callable[[Any], Any] | None = None


@contextmanager
def ordered_map(
    function: Callable[[Item], Value], workers: int
) -> Iterator[Callable[[Iterable[Item]], Iterator[Value]]]:
    """Give a ``map`` of ``function`` that yields results in the order of its inputs whatever the number of workers.

    With one worker all runs in this process. With more, ``function`` is pickled once to each of ``workers`` spawned
    processes, so it must be a module-level function or an instance of a module-level class.

    Raises:
        HandrailError: ``workers`` is below 1, or a worker process died.
    """
    if workers < 1:
        raise HandrailError(f"--workers must be at least 1, got {workers}")
    if workers == 1:
        yield lambda items: map(function, items)
        return
    # Spawned, not forked: a progress bar's thread may hold a lock while a fork is taken.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_keep, initargs=(function,))
    try:
        yield lambda items: _in_order(pool, items)
    except BrokenProcessPool:
        raise HandrailError("a worker process died (out of memory?); try --workers 1 or a smaller window") from None
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _in_order(pool: ProcessPoolExecutor, items: Iterable[Any]) -> Iterator[Any]:
    # Not the pool's own map: that cancels what is left when it is broken off, and the pool, whose workers are being
    # ended, then fails on the cancelled ones in a thread of its own.
    futures = deque(pool.submit(_call, item) for item in items)
    while futures:
        yield futures.popleft().result()


def run_jobs(
    function: Callable[[Item], Value],
    jobs: Sequence[Item],
    workers: int,
    on_done: Callable[[], None] = lambda: None,
) -> list[Value]:
    """``[function(job) for job in jobs]``, in up to ``workers`` processes; see :func:`ordered_map`.

    Args:
        function: A picklable, deterministic function.
        jobs: Its picklable arguments.
        workers: Most processes at once.
        on_done: Called in this process for each result, in the order of the jobs.

    Raises:
        HandrailError: A worker process died, or the function raised one.
    """
    results: list[Value] = []
    with ordered_map(function, max(min(workers, len(jobs)), 1)) as run:
        for result in run(jobs):
            results.append(result)
            on_done()
    return results


def _keep(function: Callable[[Any], Any]) -> None:
    global _function
    # Ctrl-C reaches the whole process group; the parent ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _function = function


def _call(item: Any) -> Any:
    assert _function is not None
    return _function(item)
