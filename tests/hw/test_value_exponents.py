"""Tests of `hw.value_exponents`."""

import pytest

from hw.spec.config import ArchConfig
from hw.value_exponents import ValueExponents
from tests.hw.chips import CHIPS
from tests.support.runner import run_bench


@pytest.mark.parametrize("chip", CHIPS)
def test_value_exponents(chip):
    config = CHIPS[chip]
    run_bench(
        ValueExponents(ArchConfig(**config)),
        "tests.hw.bench_value_exponents",
        name=f"value_exponents_{chip}",
        params={"config": config},
    )
