"""Tests of `hw.top_candidates`."""

import pytest

from hw.top_candidates import TopCandidates
from tests.support.runner import run_bench

SIZES = [
    {"lanes": 4, "max_rows": 4, "list_len": 8, "max_vocab": 1024},
    {"lanes": 16, "max_rows": 16, "list_len": 32, "max_vocab": 1 << 16},
]
# Logits of a row in most tests, and in those of a head's time.
VOCABS = [{"vocab": 256, "head_vocab": 1024}, {"vocab": 512, "head_vocab": 4096}]


@pytest.mark.parametrize(
    ("sizes", "vocabs"), list(zip(SIZES, VOCABS, strict=True)), ids=["4 lanes", "16 lanes"]
)
def test_emitted_verilog_equals_golden(sizes, vocabs):
    run_bench(TopCandidates(**sizes), "tests.hw.bench_top_candidates", params=sizes | vocabs)


@pytest.mark.parametrize("value", [4, 12])
def test_list_len_must_be_a_power_of_two(value):
    with pytest.raises(ValueError, match=f"list_len must be a power of two from 8, not {value}"):
        TopCandidates(lanes=4, max_rows=4, list_len=value)


def test_max_vocab_must_fill_a_beat():
    with pytest.raises(ValueError, match=r"max_vocab must be lanes \(16\) at least, not 8"):
        TopCandidates(lanes=16, max_rows=4, list_len=8, max_vocab=8)


def test_max_rows_must_be_a_power_of_two():
    with pytest.raises(ValueError, match="max_rows must be a power of two from 2, not 1"):
        TopCandidates(lanes=4, max_rows=1, list_len=8)


def test_lanes_must_cut_a_block():
    with pytest.raises(ValueError, match="lanes must be 2, 4, 8, 16 or 32, not 3"):
        TopCandidates(lanes=3, max_rows=4, list_len=8)
