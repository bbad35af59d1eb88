"""Tests of `hw.attention`."""

import pytest

from hw.attention import Attention
from hw.spec.config import ArchConfig
from tests.hw.chips import CHIPS
from tests.support.runner import run_bench


@pytest.mark.parametrize(("chip", "max_seqs"), [("4x4", 5), ("16x16_port64", 16)])
def test_emitted_verilog_keeps_the_order_of_the_work(chip, max_seqs):
    config = CHIPS[chip] | {"max_seqs": max_seqs}
    run_bench(
        Attention(ArchConfig(**config)),
        "tests.hw.bench_attention",
        name=f"attention_{chip}",
        params={"config": config},
    )
