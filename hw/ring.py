"""Where the entries of a ring in memory lie."""

from amaranth.hdl import Signal
from amaranth.utils import exact_log2

from .spec.requests import EVENT_BYTES, REQUEST_BYTES

__all__ = ["ring_entry"]

_ENTRY_BYTES = {"request": REQUEST_BYTES, "event": EVENT_BYTES}


def ring_entry(m, registers, name, number):
    """Return (address of an entry of a ring, whether its length is no power of two).

    ``registers`` has those of the ring, ``number`` counts its entries since the start without end.
    The address comes two cycles after the number, the other a cycle after the length.
    """
    base, length = (getattr(registers, f"{name}_ring_{what}") for what in ("addr", "len"))
    place = Signal(32, name=f"{name}_place")
    addr = Signal(32, name=f"{name}_entry_addr")
    bad = Signal(name=f"{name}_len_bad")
    m.d.sync += [
        place.eq(number & (length - 1)),
        addr.eq(base + (place << exact_log2(_ENTRY_BYTES[name]))),
        bad.eq((length == 0) | (length & (length - 1)).any()),
    ]
    return addr, bad
