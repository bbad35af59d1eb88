"""Registers of the chip on AXI4-Lite."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, flipped

from hw.counter_bank import CounterBank
from hw.lib.arithmetic import or_tree
from hw.lib.axi import RESP_OKAY, RESP_SLVERR, Axi4Lite
from hw.spec.csr import (
    ARRAY_KINDS,
    CONTROL,
    COUNTERS,
    ERRORS,
    ID_VALUE,
    IRQ,
    OPERATOR_KINDS,
    REGISTERS,
    STATUS,
    TILE_UNITS,
    UNIT_STATES,
    VERSION_VALUE,
    counter_offset,
    registers_of,
)

__all__ = ["ADDR_WIDTH", "ERROR_WIDTH", "OP_ID_WIDTH", "Csr", "count_ranges"]

ADDR_WIDTH = 12  #: width of a register's byte offset
ERROR_WIDTH = max(ERRORS.values()).bit_length()  #: width of an error's cause
OP_ID_WIDTH = 16  #: width of an operator's number

#: Registers whose value comes from a member of the same name.
_FROM_MEMBERS = ("requests_taken", "events_written", "parity_errors")
_COUNTER_WIDTH = 64


def count_ranges(config):
    """Return what each counter but ``cycles`` can count in a cycle, as ranges."""
    several = {"read_beats", "write_beats", "prefetch_full"}
    several |= {"array_rows", "weight_words", "stream_words"}
    several |= {f"{unit}_{state}" for unit in TILE_UNITS for state in UNIT_STATES[unit]}
    several |= {f"op_{kind}_words" for kind in OPERATOR_KINDS}
    several |= {f"op_{kind}_rows" for kind in ARRAY_KINDS}
    most = {name: config.tiles if name in several else 1 for name in COUNTERS[1:]}
    most["saturations"] = config.tiles * config.lanes
    return {name: range(count + 1) for name, count in most.items()}


class Csr(wiring.Component):
    """Hold the registers of `hw.spec.csr`, latch errors and events, and count.

    Parameters
    ----------
    config : ArchConfig
        What the configuration words show.

    Members
    -------
    bus : In(Axi4Lite(addr_width=12))
        Registers, 32 bits at multiples of 4; the lowest two address bits are ignored. SLVERR for
        addresses without a register and for writing registers that are read-only. ``control``
        reads as 0. Byte strobes are honoured.
    irq_enable, program_addr, ... : Out(32)
        Every register of `REGISTERS` that can be written, by its name, but ``irq_status``.
    start, stop, cancel : Out(1)
        Strobes, by writing `CONTROL` bits. ``start`` is not passed on while ``busy``.
    busy, done, error, stalled : In(1)
        Bits of ``status``. ``busy`` rises at most two cycles after ``start``.
    error_valid : In(1)
        Something went wrong. The first time since ``start`` is kept.
    error_cause, error_addr, error_op : In
        What, as in the registers of the same names.
    event_event, done_event, error_event : In(1)
        Strobes that set the bits of ``irq_status``. A start while busy sets the error bit too,
        and ``error_cause`` reads ``busy_start`` while no other error is kept; the next start
        forgets it.
    irq : Out(1)
        Some bit of ``irq_status`` is set that ``irq_enable`` allows.
    requests_taken, events_written : In(32)
        The registers of the same names; with ``config.parity`` also ``parity_errors``.
    count_<name> : In
        What is counted in this cycle, of the ranges of `count_ranges`: for each of `COUNTERS` but
        ``cycles``, which counts by itself. They count while ``busy``.
    cycles : Out(64)
        The counter of cycles, for the ring of events.

    Timing
    ------
    A read takes five cycles at least, a write four, and both go on side by side. Strobes come three
    cycles after the later of write address and data, ``irq`` two after its cause. The low word of
    a counter waits for the answer of `CounterBank`, about as many cycles as there are counters, but
    that of ``cycles``. Reading a low word keeps the high word, until the next low word is read.
    """

    #: What start sets the counters to; a test sets them close to a carry.
    _CLEARED = 0

    def __init__(self, config):
        self.config = config
        writable = [
            name for name, reg in REGISTERS.items() if reg.access == "rw" and name != "irq_status"
        ]
        self._writable = writable
        self._registers = registers_of(config)
        self._from_members = [name for name in _FROM_MEMBERS if name in self._registers]
        super().__init__({
            "bus": In(Axi4Lite(addr_width=ADDR_WIDTH)),
            **{name: Out(32) for name in writable},
            **{name: Out(1) for name in CONTROL},
            **{name: In(1) for name in STATUS},
            "error_valid": In(1),
            "error_cause": In(ERROR_WIDTH),
            "error_addr": In(32),
            "error_op": In(OP_ID_WIDTH),
            **{f"{name}_event": In(1) for name in IRQ},
            "irq": Out(1),
            **{name: In(32) for name in self._from_members},
            **{f"count_{name}": In(most) for name, most in count_ranges(config).items()},
            "cycles": Out(_COUNTER_WIDTH),
        })

    def elaborate(self, platform):
        m = Module()
        self._elaborate_errors(m)
        self._elaborate_counters(m)
        self._elaborate_writes(m)
        self._elaborate_reads(m)
        return m

    def _elaborate_errors(self, m):
        self._refused_start = refused_start = Signal()
        busy_start = Signal()
        cause = Signal(ERROR_WIDTH)
        addr = Signal(32)
        op = Signal(OP_ID_WIDTH)
        # An error comes from far: a cycle late. No start can follow it so soon.
        came, came_cause = Signal(), Signal.like(cause)
        came_addr, came_op = Signal.like(addr), Signal.like(op)
        m.d.sync += [
            came.eq(self.error_valid),
            came_cause.eq(self.error_cause),
            came_addr.eq(self.error_addr),
            came_op.eq(self.error_op),
        ]
        with m.If(self.start):
            m.d.sync += [cause.eq(0), addr.eq(0), op.eq(0), busy_start.eq(0)]
        with m.Elif(came & (cause == ERRORS["none"])):
            m.d.sync += [cause.eq(came_cause), addr.eq(came_addr), op.eq(came_op)]
        with m.If(refused_start):
            m.d.sync += busy_start.eq(1)
        shown = Mux(busy_start & (cause == ERRORS["none"]), ERRORS["busy_start"], cause)

        self._irq_status = irq_status = Signal(len(IRQ))
        self._irq_clear = irq_clear = Signal(len(IRQ))
        events = Signal(len(IRQ))
        for name, bit in IRQ.items():
            m.d.comb += events[bit].eq(getattr(self, f"{name}_event"))
        with m.If(refused_start):
            m.d.comb += events[IRQ["error"]].eq(1)
        m.d.sync += [
            irq_status.eq((irq_status & ~irq_clear) | events),
            self.irq.eq((irq_status & self.irq_enable).any()),
        ]

        status = Signal(len(STATUS))
        for name, bit in STATUS.items():
            m.d.comb += status[bit].eq(getattr(self, name))
        self._read_only = {
            "status": status,
            "error_cause": shown,
            "error_addr": addr,
            "error_op": op,
        }

    def _elaborate_counters(self, m):
        # Events are stamped with the cycles: they have a register of their own.
        with m.If(self.start):
            m.d.sync += self.cycles.eq(self._CLEARED)
        with m.Elif(self.busy):
            m.d.sync += self.cycles.eq(self.cycles + 1)
        ranges = count_ranges(self.config)
        m.submodules.bank = self._bank = bank = CounterBank(
            {name: len(most) - 1 for name, most in ranges.items()},
            width=_COUNTER_WIDTH,
            cleared=self._CLEARED,
        )
        m.d.comb += [bank.clear.eq(self.start), bank.enable.eq(self.busy)]
        for name in ranges:
            m.d.comb += getattr(bank, f"step_{name}").eq(getattr(self, f"count_{name}"))

    def _elaborate_writes(self, m):
        bus = flipped(self.bus)
        offset = Signal(ADDR_WIDTH - 2)
        value = Signal(32)
        strobe = Signal(4)
        offset_full = Signal()
        value_full = Signal()
        write = Signal()  # acts in this cycle, on what the cycle before found out
        mask = Signal(32)
        ones = Signal(32)
        m.d.comb += [bus.awready.eq(~offset_full), bus.wready.eq(~value_full)]
        m.d.sync += [
            write.eq(offset_full & value_full & ~bus.bvalid & ~write),
            mask.eq(Cat(bit.replicate(8) for bit in strobe)),
            ones.eq(value & Cat(bit.replicate(8) for bit in strobe)),
        ]
        with m.If(bus.awvalid & bus.awready):
            m.d.sync += [offset.eq(bus.awaddr[2:]), offset_full.eq(1)]
        with m.If(bus.wvalid & bus.wready):
            m.d.sync += [value.eq(bus.wdata), strobe.eq(bus.wstrb), value_full.eq(1)]
        with m.If(bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        with m.If(write):
            m.d.sync += [
                offset_full.eq(0),
                value_full.eq(0),
                bus.bvalid.eq(1),
                bus.bresp.eq(RESP_SLVERR),
            ]

        # Strobes are registers of their own: they go far. `busy` cannot rise meanwhile.
        m.d.sync += [getattr(self, name).eq(0) for name in CONTROL]
        m.d.sync += self._refused_start.eq(0)
        for name, register in self._registers.items():
            if register.access == "ro":
                continue
            chosen = Signal(name=f"writes_{name}")
            m.d.sync += chosen.eq(offset == register.offset // 4)
            with m.If(write & chosen):
                m.d.sync += bus.bresp.eq(RESP_OKAY)
                if name == "control":
                    start = ones[CONTROL["start"]]
                    m.d.sync += [
                        self.start.eq(start & ~self.busy),
                        self._refused_start.eq(start & self.busy),
                        self.stop.eq(ones[CONTROL["stop"]]),
                        self.cancel.eq(ones[CONTROL["cancel"]]),
                    ]
                elif name == "irq_status":
                    m.d.comb += self._irq_clear.eq(ones)
                else:
                    member = getattr(self, name)
                    m.d.sync += member.eq((member & ~mask) | ones)

    def _elaborate_reads(self, m):
        bus = flipped(self.bus)
        config = self.config
        words = {
            "id": ID_VALUE,
            "version": VERSION_VALUE,
            "config0": (
                config.rows | config.cols << 8 | config.lanes << 16 | config.port_bytes << 24
            ),
            "config1": config.max_rows | config.max_dim << 16,
            "config2": config.max_context | config.page_len << 16,
            "config3": config.act_blocks | config.max_head_dim << 16,
            "config4": config.max_seqs | config.kv_pages << 16,
            "config5": config.list_len | config.tiles << 16 | config.parity << 24,
        }
        values = {name: Const(word, 32) for name, word in words.items()}
        values |= self._read_only
        values |= {name: getattr(self, name) for name in (*self._writable, *self._from_members)}
        values |= {"irq_status": self._irq_status, "control": Const(0, 32)}
        assert values.keys() == self._registers.keys()

        bank = self._bank
        high = Signal(32)
        asks, waits = Signal(), Signal()
        place = Signal(ADDR_WIDTH - 2)
        asked = Signal()  # for the value at `place`
        first, end = (counter_offset("cycles") // 4 + n for n in (0, 2 * len(COUNTERS)))
        known = Signal()  # whose place it is
        found, told = Signal(32), Signal()  # the value there
        of_counter, of_cycles = Signal(), Signal()
        chosen = {name: Signal(name=f"reads_{name}") for name in self._registers}
        value = or_tree(Mux(chosen[name], values[name], 0) for name in self._registers)
        m.d.comb += [
            bus.arready.eq(~asked & ~known & ~told & ~bus.rvalid & ~waits),
            bank.read.eq(asks),
        ]
        m.d.sync += [
            asks.eq(0),
            asked.eq(bus.arvalid & bus.arready),
            known.eq(asked),
            told.eq(known),
            found.eq(value),
            of_counter.eq((place > first) & (place < end)),
            of_cycles.eq(place == first),
            *(
                chosen[name].eq(place == register.offset // 4)
                for name, register in self._registers.items()
            ),
        ]
        with m.If(bus.rready):
            m.d.sync += bus.rvalid.eq(0)
        with m.If(bus.arready):
            m.d.sync += place.eq(bus.araddr[2:])
        with m.If(told):
            m.d.sync += [
                bus.rvalid.eq(1),
                bus.rdata.eq(found),
                bus.rresp.eq(Mux(Cat(chosen.values()).any(), RESP_OKAY, RESP_SLVERR)),
                bank.read_index.eq((place - (first + 2)) >> 1),
            ]
            with m.If(of_cycles):
                m.d.sync += [bus.rdata.eq(self.cycles[:32]), high.eq(self.cycles[32:])]
                m.d.sync += bus.rresp.eq(RESP_OKAY)
            with m.If(of_counter):
                m.d.sync += [bus.rdata.eq(high), bus.rresp.eq(RESP_OKAY)]
                # Low words are at even places.
                with m.If(~place[0]):
                    m.d.sync += [bus.rvalid.eq(0), asks.eq(1), waits.eq(1)]
        with m.If(bank.read_valid):
            m.d.sync += [
                bus.rvalid.eq(1),
                waits.eq(0),
                bus.rdata.eq(bank.read_data[:32]),
                high.eq(bank.read_data[32:]),
            ]
