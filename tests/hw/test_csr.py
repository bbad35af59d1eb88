"""Tests of `hw.csr`."""

from dataclasses import replace

import pytest

from hw.csr import Csr
from hw.spec.presets import PRESETS, preset
from tests.support.runner import run_bench


@pytest.mark.parametrize(("name", "parity"), [*((name, False) for name in PRESETS), ("tiny", True)])
def test_csr(name, parity):
    params = {"preset": name, "parity": parity}
    run_bench(Csr(replace(preset(name), parity=parity)), "tests.hw.bench_csr", params=params)


@pytest.mark.parametrize("cleared", [(1 << 32) - 50, (5 << 32) - 1, (1 << 63) - 50])
def test_counters_carry_into_the_high_word(monkeypatch, cleared):
    monkeypatch.setattr(Csr, "_CLEARED", cleared)
    params = {"preset": "tiny", "parity": False, "cleared": cleared}
    run_bench(Csr(preset("tiny")), "tests.hw.bench_csr_carry", params=params)
