"""Tests of `hw.lib.slice`."""

from hw.lib.slice import Slice
from tests.support.runner import run_bench


def test_slice():
    run_bench(Slice(12), "tests.hw.bench_slice", params={"width": 12})
