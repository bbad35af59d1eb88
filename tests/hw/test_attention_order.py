"""Tests of `hw.attention_order`."""

from hw.attention_order import AttentionOrder
from hw.spec.config import ArchConfig
from tests.hw.chips import CHIPS
from tests.support.runner import run_bench


def test_emitted_verilog_keeps_the_order():
    config = CHIPS["4x4"] | {"max_seqs": 5}
    run_bench(
        AttentionOrder(ArchConfig(**config)),
        "tests.hw.bench_attention_order",
        params={"config": config},
    )
