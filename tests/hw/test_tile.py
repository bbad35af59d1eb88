"""Tests of `hw.tile`."""

import pytest

from hw.spec.config import ArchConfig
from tests.hw.tile_row import TileRow
from tests.support.runner import run_bench

#: Rows, columns, lanes and tiles: members, groups, and both.
CHIPS = {
    "one tile": (4, 4, 4, 1),
    "four members": (4, 4, 4, 4),
    "two members": (8, 16, 8, 2),
    "two groups of two": (8, 16, 16, 4),
    "four groups": (4, 32, 16, 4),
}


@pytest.mark.parametrize("chip", CHIPS)
def test_tiles_together_compute_what_one_does(chip):
    rows, cols, lanes, tiles = CHIPS[chip]
    fields = {
        "rows": rows, "cols": cols, "lanes": lanes, "port_bytes": 2 * cols, "page_len": 64,
        "max_rows": 8, "max_context": 64, "max_head_dim": 32, "act_blocks": 8, "tiles": tiles,
    }  # fmt: skip
    run_bench(
        TileRow(ArchConfig(**fields)),
        "tests.hw.bench_tile",
        name=f"tile_{rows}_{cols}_{tiles}",
        params={"config": fields},
    )
