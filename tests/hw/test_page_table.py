"""Tests of `hw.page_table`."""

import pytest

from hw.page_table import PageTable
from hw.spec.config import ArchConfig
from tests.hw.chips import CHIPS
from tests.support.runner import run_bench


@pytest.mark.parametrize(("chip", "tiles"), [("4x4", 1), ("4x4", 4), ("8x32", 1)])
def test_page_table(chip, tiles):
    config = CHIPS[chip] | {"tiles": tiles}
    run_bench(
        PageTable(ArchConfig(**config)),
        "tests.hw.bench_page_table",
        name=f"page_table_{chip}_{tiles}",
        params={"config": config},
    )
