"""Rules of AXI4 for a manager's port, and what its benches assume of the memory."""

from amaranth.hdl import Cat, Mux
from amaranth.utils import exact_log2

from hw.lib.axi import BURST_INCR, PAGE_BYTES

__all__ = [
    "ADDRESS",
    "DATA",
    "Writes",
    "channel",
    "check_burst",
    "check_kind",
    "check_offers_stay",
]

ADDRESS = ("id", "addr", "len", "size", "burst", "lock", "cache", "prot", "qos")
DATA = ("data", "strb", "last")


def channel(port, name, fields):
    """Return (valid, ready, payload) of a channel of a port."""
    payload = Cat(getattr(port, name + field) for field in fields)
    return getattr(port, f"{name}valid"), getattr(port, f"{name}ready"), payload


def check_offers_stay(b, axi, *, address=ADDRESS, data=DATA):
    """Assert that what is on offer stays as it is until it is taken; answers always are."""
    for name, names in (("ar", address), ("aw", address), ("w", data)):
        valid, ready, payload = channel(axi, name, names)
        b.always(b.kept(valid, ready, payload, name), f"{name}_is_kept")
        b.cover(b.past(valid & ~ready, f"{name}_late") & valid & ready, f"{name}_taken_late")
    b.always(axi.rready & axi.bready, "answers_are_always_taken")


def check_burst(b, valid, addr, beats, most, name, *, data_bytes):
    """Assert that a burst is aligned, is no longer than ``most``, and stays in a page."""
    shift = exact_log2(data_bytes)
    last = addr[:12] + (beats << shift) - 1
    b.always(~valid | (last < PAGE_BYTES), f"{name}_stays_in_a_page")
    b.always(~valid | (addr[:shift] == 0), f"{name}_is_aligned")
    b.always(~valid | ((beats != 0) & (beats <= most)), f"{name}_is_not_too_long")


def check_kind(b, axi, name, *, data_bytes):
    """Assert that the bursts of a channel count up in whole beats."""
    kind = getattr(axi, f"{name}burst") == BURST_INCR
    size = getattr(axi, f"{name}size") == exact_log2(data_bytes)
    b.always(~getattr(axi, f"{name}valid") | (kind & size), f"{name}_counts_up_in_whole_beats")


class Writes:
    """Bursts that are written: data after their address, as long as it says.

    The memory is assumed to answer bursts that have ended only.

    Members
    -------
    asked, ended, answered : Signal
        Bursts whose address was taken, whose last beat was, and that were answered.
    here, length, number : Signal
        A beat of the followed burst is on offer; one less than its beats; bursts before it.
    beat : Signal
        Beats of the burst on offer that were taken.
    """

    def __init__(self, b, axi):
        m = b.m
        self.asked, self.ended = b.register(8, "asked"), b.register(8, "ended")
        self.answered = b.register(8, "answered")
        self.beat = b.register(8, "beat")
        moves = axi.wvalid & axi.wready
        m.d.sync += [
            self.asked.eq(self.asked + (axi.awvalid & axi.awready)),
            self.ended.eq(self.ended + (moves & axi.wlast)),
            self.answered.eq(self.answered + axi.bvalid),
        ]
        with m.If(moves):
            m.d.sync += self.beat.eq(Mux(axi.wlast, 0, self.beat + 1))
        b.assume(~axi.bvalid | (self.answered != self.ended), "answers_are_of_ended_bursts")
        b.always(~axi.wvalid | (self.asked != self.ended), "no_data_before_its_address")
        # Of one burst, any one: how long it was said to be, and how long it is.
        marked = b.register(1, "marked")
        self.number, self.length = b.register(8, "number"), b.register(8, "len")
        with m.If(axi.awvalid & axi.awready & ~marked & b.free(1, "chosen")):
            m.d.sync += [marked.eq(1), self.number.eq(self.asked), self.length.eq(axi.awlen)]
        self.here = marked & axi.wvalid & (self.ended == self.number)
        is_last = self.beat == self.length
        b.always(~self.here | (axi.wlast == is_last), "the_last_beat_is_the_last")
