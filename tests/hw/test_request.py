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


@pytest.mark.parametrize(
    ("name", "fields"),
    [("max_rows", {"max_rows": 256}), ("max_pages", {"max_context": 256 * 64})],
)
def test_a_fetch_must_hold_all_rows_and_pages(name, fields):
    with pytest.raises(ValueError, match=f"{name} must be at most 255, not 256"):
        Request(ArchConfig(**fields))
