"""Jobs side by side: order, errors, and a worker that dies."""

from __future__ import annotations

import os
import time

import pytest

from handrail.policies.parallel import run_jobs
from handrail.traces import HandrailError


def square(x):
    return x * x


def refuse_three(x):
    if x == 3:
        raise HandrailError("three is a crowd")
    return x


def die(_):
    os._exit(1)


def take_a_while(x):
    time.sleep(0.2)
    return x


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_jobs(workers):
    done = []
    assert run_jobs(square, [3, 1, 2], workers, lambda: done.append(1)) == [9, 1, 4]
    assert len(done) == 3


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_a_job_is_the_callers(workers):
    with pytest.raises(HandrailError, match="three is a crowd"):
        run_jobs(refuse_three, [1, 3], workers)


def test_a_worker_that_dies_is_said_in_one_line():
    with pytest.raises(HandrailError, match="a worker process died"):
        run_jobs(die, [1, 2], 2)


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_interrupt_ends_the_workers_without_a_word_of_their_own(capfd):
    with pytest.raises(KeyboardInterrupt):
        run_jobs(take_a_while, list(range(40)), 2, interrupt)
    time.sleep(0.5)
    assert capfd.readouterr().err == ""
