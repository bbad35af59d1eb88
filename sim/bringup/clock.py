"""Rung 2: the clock's frequency, and a reset of the chip."""

import time

from hw.spec.csr import REGISTERS
from sim.bringup.rung import RungFailed

__all__ = ["TOLERANCE", "climb"]

TOLERANCE = 0.02  #: of the clock, by the host's: a crystal is far better, a ping's way is not
_SECONDS = 0.5
_MARK = 0x5A5A_1234


def climb(target):
    """Count cycles over the host's time, then reset the chip."""
    transport = target.transport
    first, sent_first, heard_first = _cycles(transport)
    time.sleep(_SECONDS)
    second, sent, heard = _cycles(transport)
    declared = transport.info["clock_hz"]
    # Nobody knows when between a ping and its answer the counter was read.
    slowest = (second - first) / (heard - sent_first)
    fastest = (second - first) / (sent - heard_first)
    measured = (slowest + fastest) / 2
    wrong = not slowest * (1 - TOLERANCE) <= declared <= fastest * (1 + TOLERANCE)
    look = "the PLL's settings and its input clock, if the lamp 'alive' blinks at another rate"
    if second <= first:
        raise RungFailed(
            "the clock stands still",
            expected="more cycles at the second ping",
            got=f"{first}, then {second}",
            look=look,
        )
    if not target.settings.simulated and wrong:
        raise RungFailed(
            f"the clock is {measured / 1e6:.1f} MHz",
            expected=f"{declared / 1e6:g} MHz, within {TOLERANCE:.0%}",
            got=f"{second - first} cycles in {sent - heard_first:.3f} s of the host",
            look=look,
        )
    offset = REGISTERS["image_base"].offset
    target.run(transport.write(offset, _MARK))
    target.run(transport.reset())
    value = target.run(transport.read(offset))
    if value:
        raise RungFailed(
            "reset does not reach the chip",
            expected="image_base 0 after a reset",
            got=f"{value:#010x}",
            look="the reset of the chip's clock domain in the board top",
        )
    rate = (
        f"declared {declared / 1e6:g} MHz; simulated: {measured / 1e6:.2f} Mcycles in a second"
        if target.settings.simulated
        else f"{measured / 1e6:.2f} MHz, declared {declared / 1e6:g}"
    )
    return [rate, "reset clears the registers"]


def _cycles(transport):
    """Return the cycle counter, and the host's times before and after the ping."""
    start = time.monotonic()
    cycles = transport.ping()["cycles"]
    return cycles, start, time.monotonic()
