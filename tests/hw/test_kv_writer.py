"""Tests of `hw.kv_writer`."""

import pytest

from hw.kv_writer import KvWriter
from hw.spec.config import ArchConfig
from tests.hw.chips import CHIPS
from tests.support.runner import run_bench

CASES = [*((chip, 1) for chip in CHIPS), ("4x4", 2), ("4x4", 4)]


@pytest.mark.parametrize(("chip", "tiles"), CASES)
def test_kv_writer(chip, tiles):
    config = CHIPS[chip] | {"tiles": tiles}
    run_bench(
        KvWriter(ArchConfig(**config)),
        "tests.hw.bench_kv_writer",
        name=f"kv_writer_{chip}_{tiles}",
        params={"config": config},
    )
