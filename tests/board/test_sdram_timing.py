"""Tests of `hw.board.sdram_timing`."""

import re
from fractions import Fraction

import pytest

from hw.board.sdram_timing import CHIPS, MAX_POSTPONED, chip, timing

CLOCKS = (100_000_000, 119_000_000, 125_000_000, 133_000_000)


@pytest.mark.parametrize("name", CHIPS)
@pytest.mark.parametrize("clock_hz", CLOCKS)
def test_cycles_are_the_fewest_that_are_long_enough(name, clock_hz):
    sheet, cycles = chip(name), timing(chip(name), clock_hz)
    period = Fraction(10**9, clock_hz)
    for field in ("rcd", "rp", "ras", "rc", "rfc", "rrd", "wr", "mrd", "power_up"):
        count, ns = getattr(cycles, field), Fraction(getattr(sheet, f"{field}_ns"))
        least = getattr(sheet, f"{field}_clocks", 1)
        assert count >= least
        assert count * period >= ns
        assert count == least or (count - 1) * period < ns
    # A row whose refresh was early, and then late by all that may wait, still has its data.
    slowest = sheet.rows + MAX_POSTPONED
    assert slowest * cycles.refresh_interval * period <= sheet.ref_ns
    assert slowest * (cycles.refresh_interval + 1) * period > sheet.ref_ns


@pytest.mark.parametrize(("clock_hz", "latency"), [(100_000_000, 2), (100_000_001, 3)])
def test_latency_is_the_shortest_that_the_clock_allows(clock_hz, latency):
    assert timing(chip("as4c16m16sa-7"), clock_hz).cas_latency == latency


def test_a_chip_holds_32_megabytes():
    assert {sheet.size_bytes for sheet in CHIPS.values()} == {32 << 20}


def test_unknown_chip_is_refused_with_those_there_are():
    message = f"chip must be one of {', '.join(CHIPS)}, not 'x'"
    with pytest.raises(ValueError, match=re.escape(message)):
        chip("x")


@pytest.mark.parametrize("value", [0, -1, 143_000_001])
def test_clock_must_suit_the_chip(value):
    with pytest.raises(ValueError, match="clock_hz must be from 1 to 142857142, not"):
        timing(chip("as4c16m16sa-7"), value)


def test_clock_must_be_an_integer():
    with pytest.raises(TypeError, match="clock_hz must be an integer, not 133.0"):
        timing(chip("as4c16m16sa-7"), 133.0)
