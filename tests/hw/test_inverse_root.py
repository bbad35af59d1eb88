"""Tests of `hw.inverse_root`."""

import pytest

from hw.inverse_root import InverseRoot
from tests.support.runner import run_bench


@pytest.mark.parametrize("width", [40, 49])
def test_emitted_verilog_equals_golden(width):
    run_bench(InverseRoot(width=width), "tests.hw.bench_inverse_root", params={"width": width})


def test_width_must_be_positive():
    with pytest.raises(ValueError, match="width must be positive, not 0"):
        InverseRoot(width=0)
