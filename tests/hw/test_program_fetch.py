"""Tests of `hw.program_fetch`."""

from hw.program_fetch import ProgramFetch
from tests.support.runner import run_bench


def test_program_fetch():
    run_bench(ProgramFetch(), "tests.hw.bench_program_fetch", name="program_fetch")
