"""Tests of `hw.kv_writer`."""

import pytest

from hw.kv_writer import KvWriter
from hw.spec.config import ArchConfig
from tests.hw.chips import CHIPS
from tests.support.runner import run_bench


@pytest.mark.parametrize("chip", CHIPS)
def test_kv_writer(chip):
    config = CHIPS[chip]
    run_bench(
        KvWriter(ArchConfig(**config)),
        "tests.hw.bench_kv_writer",
        name=f"kv_writer_{chip}",
        params={"config": config},
    )
