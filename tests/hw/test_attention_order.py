"""Tests of `hw.attention_order`."""

import pytest

from hw.attention_order import AttentionOrder
from hw.spec.config import ArchConfig
from tests.hw.chips import CHIPS
from tests.support.runner import run_bench


@pytest.mark.parametrize(("tiles", "tile"), [(1, 0), (2, 1), (4, 2)])
def test_emitted_verilog_keeps_the_order(tiles, tile):
    config = CHIPS["4x4"] | {"max_seqs": 5, "tiles": tiles}
    run_bench(
        AttentionOrder(ArchConfig(**config), tile=tile),
        "tests.hw.bench_attention_order",
        name=f"attention_order_{tile}_of_{tiles}",
        params={"config": config, "tile": tile},
    )
