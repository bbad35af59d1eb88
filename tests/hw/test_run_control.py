"""Tests of `hw.run_control`."""

from hw.run_control import RunControl
from tests.support.runner import run_bench


def test_run_control():
    run_bench(RunControl(), "tests.hw.bench_run_control", name="run_control")
