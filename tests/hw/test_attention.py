"""Tests of `hw.attention`."""

import pytest

from hw.attention import Attention
from hw.spec.config import ArchConfig
from tests.hw.chips import CHIPS
from tests.support.runner import run_bench


@pytest.mark.parametrize("chip", ["4x4", "16x16_port64"])
def test_emitted_verilog_keeps_the_order_of_the_work(chip):
    config = CHIPS[chip]
    run_bench(
        Attention(ArchConfig(**config)),
        "tests.hw.bench_attention",
        name=f"attention_{chip}",
        params={"config": config},
    )
