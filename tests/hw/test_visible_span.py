"""Tests of `hw.visible_span`."""

import pytest

from hw.spec.config import ArchConfig
from hw.visible_span import VisibleSpan
from tests.hw.chips import CHIPS
from tests.support.runner import run_bench


@pytest.mark.parametrize("chip", ["4x4", "16x16_port64"])
def test_visible_span(chip):
    config = CHIPS[chip]
    run_bench(
        VisibleSpan(ArchConfig(**config)),
        "tests.hw.bench_visible_span",
        name=f"visible_span_{chip}",
        params={"config": config},
    )
