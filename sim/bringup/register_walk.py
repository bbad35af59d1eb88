"""Rung 3: every register's reset value, bits, and protection."""

from hw.spec.bridge import REGISTER_BYTES
from hw.spec.csr import REGISTERS
from sim.bringup.rung import RungFailed
from sim.device.error import AccessRefused
from sim.device.registers import config_words

__all__ = ["climb"]

_LOOK = "the bridge's register port and the chip's csr: a bit that one register alone misses is its"
_ONES = 0xFFFF_FFFF
_PROTECTED = ("id", "status", "events_written")  # one of each kind: constant, state, counter


def climb(target):
    """Walk a one through the writable registers; try to write others."""
    target.run(target.transport.reset())
    plain = [n for n, r in REGISTERS.items() if r.access == "rw" and n != "irq_status"]
    for name, value in zip(plain, _values(target, plain), strict=True):
        _expect(f"{name} after a reset", 0, value)
    for name, expected in config_words(target.settings.config).items():
        _expect(name, expected, _values(target, [name])[0])
    for name in plain:
        _walk(target, name)
    # Each has its own value: an address line that does nothing would show two the same.
    marks = {name: 0x0101_0101 * (index + 1) for index, name in enumerate(plain)}
    for name, mark in marks.items():
        _write(target, name, [mark])
    for name, value in zip(plain, _values(target, plain), strict=True):
        _expect(f"{name} after the others were written", marks[name], value)
    for name in _PROTECTED:
        _try_to_write(target, name)
    target.run(target.transport.reset())
    return [
        f"{len(plain)} registers of 32 bits, reset values, {len(_PROTECTED)} read-only registers"
    ]


def _access(name):
    return ("read_register", REGISTERS[name].offset, REGISTER_BYTES, b"")


def _values(target, names):
    answers = target.exchange([_access(name) for name in names])
    return [int.from_bytes(answer, "little") for answer in answers]


def _write(target, name, values):
    offset = REGISTERS[name].offset
    requests = [("write_register", offset, 4, value.to_bytes(4, "little")) for value in values]
    target.exchange(requests)


def _walk(target, name):
    """Write each single bit, all ones and zero, and read each back."""
    offset = REGISTERS[name].offset
    values = [*(1 << bit for bit in range(32)), _ONES, 0]
    answers = target.exchange([
        request
        for value in values
        for request in (
            ("write_register", offset, REGISTER_BYTES, value.to_bytes(4, "little")),
            _access(name),
        )
    ])
    for value, answer in zip(values, answers[1::2], strict=True):
        _expect(name, value, int.from_bytes(answer, "little"))


def _try_to_write(target, name):
    before = _values(target, [name])[0]
    try:
        _write(target, name, [before ^ _ONES])
    except AccessRefused as error:
        if error.status != "bus_error":
            raise
    else:
        raise RungFailed(
            f"register {name} can be written",
            expected="bus_error for a write",
            got="ok",
            look=_LOOK,
        )
    _expect(f"{name} after a write that was refused", before, _values(target, [name])[0])


def _expect(what, expected, got):
    if got != expected:
        bits = [str(bit) for bit in range(32) if (got ^ expected) >> bit & 1]
        raise RungFailed(
            f"register {what.split()[0]}: wrong bits {', '.join(bits)}",
            expected=f"{what}: {expected:#010x}",
            got=f"{got:#010x}",
            look=_LOOK,
        )
