"""Tests of `hw.csr`."""

import pytest

from hw.csr import Csr
from hw.spec.presets import PRESETS, preset
from tests.support.runner import run_bench


@pytest.mark.parametrize("name", list(PRESETS))
def test_csr(name):
    run_bench(Csr(preset(name)), "tests.hw.bench_csr", params={"preset": name})


@pytest.mark.parametrize("cleared", [(1 << 32) - 50, (5 << 32) - 1])
def test_counters_carry_into_the_high_word(monkeypatch, cleared):
    monkeypatch.setattr(Csr, "_CLEARED", cleared)
    params = {"preset": "tiny", "cleared": cleared}
    run_bench(Csr(preset("tiny")), "tests.hw.bench_csr_carry", params=params)
