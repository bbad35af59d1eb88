"""Tests of `hw.lib.queue`."""

import pytest

from hw.lib.queue import Queue
from tests.support.runner import run_bench

WIDTH = 12


@pytest.mark.parametrize("depth", [2, 5, Queue.MAX_LUT_DEPTH, Queue.MAX_LUT_DEPTH + 1, 64])
def test_queue(depth):
    dut = Queue(WIDTH, depth)
    params = {"width": WIDTH, "depth": depth, "latency": dut.latency}
    run_bench(dut, "tests.hw.bench_queue", params=params)


def test_depth_must_be_an_integer():
    with pytest.raises(TypeError, match="depth must be an integer, not '8'"):
        Queue(8, "8")


def test_depth_must_be_at_least_2():
    with pytest.raises(ValueError, match="depth must be at least 2, not 1"):
        Queue(8, 1)
