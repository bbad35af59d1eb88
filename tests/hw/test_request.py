"""Tests of `hw.request`."""

import pytest

from hw.request import Request
from hw.spec.config import ArchConfig
from tests.hw.chips import CHIPS
from tests.support.runner import run_bench


@pytest.mark.parametrize("chip", ["4x4", "16x16"])
def test_request(chip):
    config = CHIPS[chip]
    run_bench(
        Request(ArchConfig(**config)),
        "tests.hw.bench_request",
        name=f"request_{chip}",
        params={"config": config},
    )
