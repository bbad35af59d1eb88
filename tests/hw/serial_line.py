"""A serial line in a bench: bytes to levels and back, at any rate."""

from cocotb.triggers import FallingEdge, Timer

__all__ = ["listens", "talks"]


async def talks(line, data, bit_ns, *, stop_bits=1, glitch=None):
    """Send bytes, low bit first, on a line that is idle.

    Parameters
    ----------
    line : SimHandle
        The line.
    data : bytes
        What to send.
    bit_ns : float
        Length of a bit, in nanoseconds.
    stop_bits : float
        Length of the stop bit, in bits.
    glitch : callable
        Given the index of a byte and of a bit (0: start, 9: stop), returns where in the bit (0 to
        1) the line is inverted for how long (in bits), or None.
    """
    for index, byte in enumerate(data):
        for bit, level in enumerate([0, *(byte >> i & 1 for i in range(8)), 1]):
            length = bit_ns * (stop_bits if bit == 9 else 1)
            line.value = level
            spot = glitch(index, bit) if glitch else None
            if spot:
                at, width = (part * bit_ns for part in spot)
                await Timer(round(at, 3), unit="ns", round_mode="round")
                line.value = 1 - level
                await Timer(round(width, 3), unit="ns", round_mode="round")
                line.value = level
                length -= at + width
            await Timer(round(length, 3), unit="ns", round_mode="round")


async def listens(line, bit_ns, heard):
    """Append bytes from a line to a list for ever, sampling each bit once in its middle."""
    while True:
        await FallingEdge(line)
        await Timer(round(1.5 * bit_ns, 3), unit="ns", round_mode="round")
        byte = 0
        for bit in range(8):
            byte |= int(line.value) << bit
            await Timer(round(bit_ns, 3), unit="ns", round_mode="round")
        assert int(line.value), f"byte {len(heard)} has no stop bit"
        heard.append(byte)
