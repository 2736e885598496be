"""Running independent replays side by side; results come in the order of the jobs, whatever the number of workers."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from ..traces.errors import HandrailError

Job = TypeVar("Job")
Result = TypeVar("Result")


def run_jobs(
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    workers: int,
    on_done: Callable[[], None] = lambda: None,
) -> list[Result]:
    """``[function(job) for job in jobs]``, in up to ``workers`` fresh processes (in this one if 1).

    Args:
        function: A picklable, deterministic function.
        jobs: Its picklable arguments.
        workers: Most processes at once.
        on_done: Called in this process whenever a job is done.

    Raises:
        HandrailError: A worker process died, or the function raised one.
    """
    if min(workers, len(jobs)) <= 1:
        results = []
        for job in jobs:
            results.append(function(job))
            on_done()
        return results
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context, initializer=_leave_interrupts)
    try:
        futures = [executor.submit(function, job) for job in jobs]
        for future in futures:
            future.add_done_callback(lambda _: on_done())
        return [future.result() for future in futures]
    except BrokenProcessPool:
        raise HandrailError("a worker process died (out of memory?); try --workers 1 or a smaller window") from None
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _leave_interrupts() -> None:
    # Ctrl-C reaches the whole process group; the parent ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
