"""Tests of `hw.sampler`; lists, cycles of beats and refusals are those of `hw.top_candidates`."""

import pytest

from hw.sampler import Sampler
from tests.support.runner import run_bench

SIZES = [
    {"lanes": 4, "max_rows": 4, "list_len": 8, "max_vocab": 128},
    {"lanes": 16, "max_rows": 16, "list_len": 32, "max_vocab": 1 << 16},
]


@pytest.mark.parametrize("sizes", SIZES, ids=["4 lanes", "16 lanes"])
def test_emitted_verilog_equals_golden(sizes):
    run_bench(Sampler(**sizes), "tests.hw.bench_sampler", params=sizes)


def test_list_len_must_be_a_power_of_two():
    with pytest.raises(ValueError, match="list_len must be a power of two from 8, not 40"):
        Sampler(lanes=4, max_rows=4, list_len=40)
