"""Tests of `hw.board.uart`, `hw.board.uart_receiver` and `hw.board.uart_transmitter`."""

import re

import pytest

from hw.board.uart import Uart, bit_cycles
from hw.board.uart_receiver import UartReceiver
from hw.board.uart_transmitter import UartTransmitter
from tests.support.runner import run_bench


# 100 MHz at 3 Mbaud, and the shortest bit.
@pytest.mark.parametrize(("clock_hz", "baud"), [(100_000_000, 3_000_000), (5_000_000, 1_000_000)])
def test_uart(clock_hz, baud):
    dut = Uart(clock_hz=clock_hz, baud=baud)
    run_bench(
        dut,
        "tests.hw.bench_uart",
        name=f"uart_{dut.bit_cycles}",
        params={"bit_cycles": dut.bit_cycles},
    )


@pytest.mark.parametrize(
    ("clock_hz", "baud", "expected"),
    [(100_000_000, 1_000_000, 100), (100_000_000, 3_000_000, 33), (25_000_000, 115_200, 217)],
)
def test_bit_is_the_nearest_number_of_cycles(clock_hz, baud, expected):
    assert bit_cycles(clock_hz, baud) == expected


@pytest.mark.parametrize(
    ("clock_hz", "baud", "message"),
    [
        (100_000_000, 9_000_000, None),  # 11.1 cycles: off by 1 %
        (
            100_000_000,
            9_600_000,
            "baud must be within 2% of a divisor of the clock: 9600000 is off by 4.2% at 100000000",
        ),
        (1_000_000, 300_000, "baud must be at most 200000 at a clock of 1000000 Hz, not 300000"),
        (1_000_000, 0, "baud must be positive, not 0"),
    ],
)
def test_baud_must_come_close_to_a_divisor(clock_hz, baud, message):
    if message is None:
        assert bit_cycles(clock_hz, baud) == 11
        return
    with pytest.raises(ValueError, match=re.escape(message)):
        Uart(clock_hz=clock_hz, baud=baud)


def test_parameters_must_be_integers():
    with pytest.raises(TypeError, match=r"clock_hz must be an integer, not 25000000\.0"):
        Uart(clock_hz=25e6, baud=115_200)
    with pytest.raises(TypeError, match="bit_cycles must be an integer, not '8'"):
        UartTransmitter(bit_cycles="8")
    with pytest.raises(ValueError, match="bit_cycles must be at least 5, not 4"):
        UartReceiver(bit_cycles=4)
