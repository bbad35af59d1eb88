"""Tests of `hw.page_table`."""

import pytest

from hw.page_table import PageTable
from hw.spec.config import ArchConfig
from tests.hw.chips import CHIPS
from tests.support.runner import run_bench


@pytest.mark.parametrize("chip", ["4x4", "8x32"])
def test_page_table(chip):
    config = CHIPS[chip]
    run_bench(
        PageTable(ArchConfig(**config)),
        "tests.hw.bench_page_table",
        name=f"page_table_{chip}",
        params={"config": config},
    )
