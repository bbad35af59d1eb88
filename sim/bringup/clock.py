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
    first, at = _cycles(transport)
    time.sleep(_SECONDS)
    second, end = _cycles(transport)
    declared = transport.info["clock_hz"]
    measured = (second - first) / (end - at)
    look = "the PLL's settings and its input clock, if the lamp 'alive' blinks at another rate"
    if second <= first:
        raise RungFailed(
            "the clock stands still",
            expected="more cycles at the second ping",
            got=f"{first}, then {second}",
            look=look,
        )
    if not target.settings.simulated and abs(measured / declared - 1) > TOLERANCE:
        raise RungFailed(
            f"the clock is {measured / 1e6:.1f} MHz",
            expected=f"{declared / 1e6:g} MHz, within {TOLERANCE:.0%}",
            got=f"{second - first} cycles in {end - at:.3f} s of the host",
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
    """Return the cycle counter, and the host's time in the middle of the ping."""
    start = time.monotonic()
    cycles = transport.ping()["cycles"]
    return cycles, (start + time.monotonic()) / 2
