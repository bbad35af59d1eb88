"""Cuts memory commands into AXI bursts."""

from amaranth.hdl import C, Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from hw.lib.axi import PAGE_BYTES
from hw.lib.queue import Queue
from hw.lib.slice import Slice

__all__ = ["BurstCutter", "REGION", "burst_layout", "command_layout"]

#: First byte, and the byte after the last.
REGION = data.StructLayout({"base": 32, "limit": 32})


def command_layout(beats_width, *, addr_width=32):
    """Return the layout of a command: read or write ``beats`` beats from ``addr`` (bytes) on."""
    return data.StructLayout({"addr": addr_width, "beats": beats_width})


def burst_layout(max_burst, *, addr_width=32):
    """Return the layout of a burst of 1 to ``max_burst`` beats from ``addr`` (bytes) on."""
    return data.StructLayout({"addr": addr_width, "beats": range(max_burst + 1)})


class BurstCutter(wiring.Component):
    """Check where commands point, and cut them at multiples of ``max_burst`` beats.

    A burst never crosses a page of 4 KiB, because pages are multiples of bursts. A command of no
    beats does nothing. After a refused command nothing moves until ``flush``.

    Parameters
    ----------
    port_bytes : int
        Bytes of a beat. A power of two.
    beats_width : int
        Width of a command's length.
    max_burst : int
        Beats of a burst at most. A power of two, and with ``port_bytes`` at most a page.
    region_count : int
        Regions.
    addr_width : int
        Width of an address, in bits.
    queue_depth : int
        Commands that may wait.

    Members
    -------
    i_command : In(stream.Signature(command_layout(beats_width)))
        Commands. ``addr`` is a multiple of ``port_bytes``.
    o_burst : Out(stream.Signature(burst_layout(max_burst)))
        Bursts.
    regions : In(data.ArrayLayout(REGION, region_count))
        A command lies inside one of these, or is refused. Must not change while ``busy``.
    flush : In(1)
        Forget all commands and bursts, those that arrive or are on offer included.
    refused : Out(1)
        High for one cycle: a command lies in no region, or is not aligned.
    refused_addr : Out(addr_width)
        ... and its address, in bytes.
    busy : Out(1)
        Commands or bursts are inside.

    Timing
    ------
    A burst per cycle, of one command; a command every other cycle. The first burst is on offer
    `LATENCY` cycles after its command.

    Raises
    ------
    ValueError
        ``port_bytes`` or ``max_burst`` is no power of two, or a burst is longer than a page.
    """

    #: Cycles from a command to the offer of its first burst.
    LATENCY = 5

    def __init__(
        self, *, port_bytes, beats_width, max_burst, region_count, addr_width=32, queue_depth=4
    ):
        for name, value in (("port_bytes", port_bytes), ("max_burst", max_burst)):
            if not isinstance(value, int) or value < 1 or value & (value - 1):
                raise ValueError(f"{name} must be a power of two, not {value!r}")
        most = min(256, PAGE_BYTES // port_bytes)
        if max_burst > most:
            raise ValueError(f"max_burst must be at most {most}, not {max_burst!r}")
        self.port_bytes = port_bytes
        self.max_burst = max_burst
        self.addr_width = addr_width
        self.queue_depth = queue_depth
        super().__init__({
            "i_command": In(stream.Signature(command_layout(beats_width, addr_width=addr_width))),
            "o_burst": Out(stream.Signature(burst_layout(max_burst, addr_width=addr_width))),
            "regions": In(data.ArrayLayout(REGION, region_count)),
            "flush": In(1),
            "refused": Out(1),
            "refused_addr": Out(addr_width),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        command = self.i_command.payload.shape()
        burst = self.o_burst.payload.shape()
        beat_shift = exact_log2(self.port_bytes)
        burst_shift = exact_log2(self.max_burst)

        m.submodules.waiting = waiting = Queue(command, self.queue_depth)
        m.submodules.bursts = bursts = Slice(burst)
        connect(m, flipped(self.i_command), waiting.i)
        connect(m, bursts.o, flipped(self.o_burst))
        m.d.comb += [waiting.flush.eq(self.flush), bursts.flush.eq(self.flush)]

        room = Signal(range(self.max_burst + 1), reset_less=True)
        is_last = Signal(reset_less=True)

        # Stage 1: where does it end?
        ended_full = Signal()
        ended = Signal(command, reset_less=True)
        end = Signal(max(self.addr_width, len(ended.beats) + beat_shift) + 1, reset_less=True)
        check = Signal()
        # Not while the one before is judged: that would be a path through all stages.
        m.d.comb += waiting.o.ready.eq(~ended_full)
        with m.If(check):
            m.d.sync += ended_full.eq(0)
        with m.If(waiting.o.ready):
            m.d.sync += [
                ended_full.eq(waiting.o.valid),
                ended.eq(waiting.o.p),
                end.eq(waiting.o.p.addr + (waiting.o.p.beats << beat_shift)),
            ]

        # Stage 2: is all of it allowed?
        judged_full = Signal()
        judged = Signal(command, reset_less=True)
        good = Signal(reset_less=True)
        inside = 0
        for index in range(self.regions.shape().length):
            region = self.regions[index]
            inside = inside | ((ended.addr >= region.base) & (end <= region.limit))
        # From where it begins to the next multiple of max_burst beats.
        first_room = Signal(range(self.max_burst + 1), reset_less=True)
        judge = Signal()
        with m.If(judge):
            m.d.sync += [
                first_room.eq(self.max_burst - (ended.addr >> beat_shift)[:burst_shift]),
                judged_full.eq(ended_full & (ended.beats != 0)),
                judged.eq(ended),
                good.eq(inside & (ended.addr[:beat_shift] == 0)),
            ]

        # If so it is cut from here.
        blocked = Signal()
        whole_full = Signal()
        whole = Signal(command, reset_less=True)
        arriving = Signal()
        cut = Signal()
        m.d.comb += [
            cut.eq(judged_full & ~blocked & (~whole_full | (arriving & is_last))),
            judge.eq(~judged_full | cut),
            check.eq(ended_full & judge),
            self.refused.eq(cut & ~good),
            self.refused_addr.eq(judged.addr),
        ]
        with m.If(self.refused):
            m.d.sync += blocked.eq(1)

        # Stage 3: cut at multiples of max_burst beats. How much is to the next multiple, and
        # whether that is all, is known a cycle ahead.
        m.d.comb += [
            bursts.i.valid.eq(whole_full),
            bursts.i.p.addr.eq(whole.addr),
            bursts.i.p.beats.eq(Mux(is_last, whole.beats, room)),
            arriving.eq(bursts.i.valid & bursts.i.ready),
        ]
        with m.If(cut):
            m.d.sync += [
                whole_full.eq(good),
                whole.eq(judged),
                room.eq(first_room),
                is_last.eq(judged.beats <= first_room),
            ]
        with m.Elif(arriving):
            m.d.sync += [
                whole_full.eq(~is_last),
                whole.addr.eq(Cat(C(0, beat_shift + burst_shift), self._next_burst(whole.addr))),
                whole.beats.eq(whole.beats - room),
                room.eq(self.max_burst),
                is_last.eq(whole.beats <= room + self.max_burst),
            ]

        with m.If(self.flush):
            m.d.sync += [ended_full.eq(0), judged_full.eq(0), whole_full.eq(0), blocked.eq(0)]

        m.d.comb += self.busy.eq(
            (waiting.level != 0) | ended_full | judged_full | whole_full | bursts.o.valid
        )

        return m

    def _next_burst(self, addr):
        return (addr >> exact_log2(self.port_bytes * self.max_burst)) + 1
