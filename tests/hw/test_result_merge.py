"""Tests of `hw.result_merge`."""

import pytest
from amaranth.lib import data

from hw.jobs import result_label
from hw.result_merge import ResultMerge
from hw.spec.config import ArchConfig
from tests.support.runner import run_bench

#: Columns, lanes and tiles: from 1 to 4 members and groups; a beat for each member, and more.
CHIPS = {
    "one tile": (16, 16, 1),
    "two members, a beat each": (16, 16, 2),
    "two members of four beats": (4, 4, 2),
    "four members of two beats": (4, 4, 4),
    "two groups of two": (16, 8, 4),
    "two groups": (32, 16, 2),
    "four groups": (32, 16, 4),
}


@pytest.mark.parametrize("chip", CHIPS)
def test_results_come_in_the_order_of_one_tile(chip):
    cols, lanes, tiles = CHIPS[chip]
    fields = {
        "rows": 4, "cols": cols, "lanes": lanes, "port_bytes": cols, "max_rows": 8, "tiles": tiles,
    }  # fmt: skip
    config = ArchConfig(**fields)
    shape = data.StructLayout({"data": 16, "meta": result_label(config)})
    run_bench(
        ResultMerge(config, shape),
        "tests.hw.bench_result_merge",
        name=f"result_merge_{cols}_{lanes}_{tiles}",
        params={"config": fields},
    )
