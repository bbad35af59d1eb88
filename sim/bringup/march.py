"""March C- over both ends of the memory."""

from sim.bringup.data_bus import LINES
from sim.bringup.rung import RungFailed

__all__ = ["CELL_BYTES", "check"]

CELL_BYTES = 64  #: that an element of the march reads and writes at once
_ZERO, _ONE = bytes(CELL_BYTES), b"\xff" * CELL_BYTES
#: (upwards, what is read, what is written), as van de Goor has it.
_ELEMENTS = (
    (True, None, _ZERO),
    (True, _ZERO, _ONE),
    (True, _ONE, _ZERO),
    (False, _ZERO, _ONE),
    (False, _ONE, _ZERO),
    (True, _ZERO, None),
)


def check(target):
    """March; return what was found."""
    half = max(CELL_BYTES, target.settings.march_bytes // 2 // CELL_BYTES * CELL_BYTES)
    end = target.transport.info["memory_bytes"]
    cells = [*range(0, half, CELL_BYTES), *range(end - half, end, CELL_BYTES)]
    for number, (upwards, read, write) in enumerate(_ELEMENTS):
        order = cells if upwards else cells[::-1]
        wrong = _pass(target, order, read, write)
        if wrong:
            addr, expected, got = wrong[0]
            lines = sorted({line for byte in wrong for line in _lines(*byte)})
            raise RungFailed(
                f"cells: {len(wrong)} bytes are wrong, on D{', D'.join(map(str, lines))}, in "
                f"{len({addr // CELL_BYTES for addr, _, _ in wrong})} cells",
                expected=f"{expected:#04x} at {addr:#x}, in element {number} of the march",
                got=f"{got:#04x}",
                look="the chip itself if the addresses are few and always the same; times and "
                "capture_delay of the controller, or the power, if not",
            )
    return f"march C-: {2 * half} bytes, in cells of {CELL_BYTES}"


def _pass(target, order, read, write):
    """Read and write each cell; return the bytes that are wrong: (address, expected, got)."""
    requests = []
    for addr in order:
        if read is not None:
            requests.append(("read_memory", addr, CELL_BYTES, b""))
        if write is not None:
            requests.append(("write_memory", addr, CELL_BYTES, write))
    answers = target.exchange(requests)
    if read is None:
        return []
    step = 1 if write is None else 2
    return [
        (addr + at, want, have)
        for addr, answer in zip(order, answers[::step], strict=True)
        if answer != read
        for at, (want, have) in enumerate(zip(read, answer, strict=True))
        if want != have
    ]


def _lines(addr, want, have):
    """Return the data lines on which a byte is wrong."""
    first = 8 * (addr % (LINES // 8))
    return [first + bit for bit in range(8) if (want ^ have) >> bit & 1]
