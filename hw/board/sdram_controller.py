"""An SDR-SDRAM chip behind an AXI4 port."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.board.sdram_columns import SdramColumns
from hw.board.sdram_commands import SdramCommands
from hw.board.sdram_data import SdramData
from hw.board.sdram_pins import COMMANDS, DQ_WIDTH, Cooldown, SdramPins, segment_layout
from hw.board.sdram_reads import SdramReads
from hw.board.sdram_refresh import SdramRefresh
from hw.board.sdram_rows import SdramRows
from hw.board.sdram_writes import SdramWrites
from hw.lib.axi import RESP_OKAY, Axi4
from hw.lib.queue import Queue

__all__ = ["SdramController"]

_MAX_CAPTURE_DELAY = 4


class SdramController(wiring.Component):
    """Serve one AXI4 manager from one SDR-SDRAM chip.

    The burst length of the chip is one beat of the port, so that commands follow each other without
    a gap and no word is moved for nothing. Reads and writes take turns: one that has more to do
    goes on for `TURN_SEGMENTS` segments. A read does not see a write whose response has not come.

    Parameters
    ----------
    timing : SdramTiming
        Times of the chip at the clock.
    data_bytes : int
        Width of the port, in bytes: 4, 8 or 16.
    addr_width, id_width : int
        Other widths of the port.
    capture_delay : int
        Cycles from when the chip sends a word until ``pins.dq_in`` shows it: 0 for a chip with the
        same clock and no registers between, up to 4.

    Members
    -------
    axi : In(Axi4(...))
        INCR bursts of full-size beats; others get SLVERR, addresses beyond the chip DECERR. Beats
        of all IDs keep their order.
    pins : Out(SdramPins())
        The chip. Outputs are registers.
    ready : Out(1)
        The chip was brought up; bursts before that wait.

    Timing
    ------
    One word a cycle on streams. No combinational paths.

    Raises
    ------
    ValueError
        A width or delay is not one of those above.
    """

    #: Segments that reads, or writes, go on for while the others wait.
    TURN_SEGMENTS = 16

    #: Cycles without a segment of one kind after which the other has its turn.
    PATIENCE_CYCLES = 12

    _PASSED_SEGMENTS = 4

    def __init__(self, *, timing, data_bytes, addr_width=32, id_width=4, capture_delay=0):
        if data_bytes not in (4, 8, 16):
            raise ValueError(f"data_bytes must be 4, 8 or 16, not {data_bytes!r}")
        if capture_delay not in range(_MAX_CAPTURE_DELAY + 1):
            raise ValueError(
                f"capture_delay must be from 0 to {_MAX_CAPTURE_DELAY}, not {capture_delay!r}"
            )
        beat_words = 8 * data_bytes // DQ_WIDTH
        port = {"data_bytes": data_bytes, "addr_width": addr_width, "id_width": id_width}
        command = {"beat_words": beat_words, "id_width": id_width}
        cas = {"cas_latency": timing.cas_latency}
        self._segment = segment_layout(beat_words, id_width)
        self._reads = SdramReads(**port)
        self._writes = SdramWrites(**port)
        # One more than wait: the columns hold one.
        self._rows = SdramRows(timing=timing, depth=self._PASSED_SEGMENTS + 1, **command)
        self._columns = SdramColumns(**cas, **command)
        self._commands = SdramCommands(**cas, **command)
        self._data = SdramData(**cas, capture_delay=capture_delay, data_bytes=data_bytes)
        self._refresh = SdramRefresh(timing=timing)
        super().__init__({
            "axi": In(Axi4(**port)),
            "pins": Out(SdramPins()),
            "ready": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.reads = reads = self._reads
        m.submodules.writes = writes = self._writes
        m.submodules.rows = rows = self._rows
        m.submodules.passed = passed = Queue(self._segment, self._PASSED_SEGMENTS)
        m.submodules.columns = columns = self._columns
        m.submodules.commands = commands = self._commands
        m.submodules.data = words = self._data
        m.submodules.refresh = refresh = self._refresh

        connect(m, rows.o_segment, passed.i)
        connect(m, passed.o, columns.i_segment)
        # What is decided in a cycle is carried out from the next.
        column = Signal.like(columns.column)
        row = Signal.like(rows.row)
        other = Signal.like(refresh.command, init=COMMANDS["nop"])
        m.d.sync += [
            column.eq(columns.column),
            row.eq(rows.row),
            other.eq(refresh.command),
        ]
        m.d.comb += [
            rows.column.eq(columns.column),
            columns.allowed.eq(rows.column_allowed),
            commands.column.eq(column),
            commands.row.eq(row),
            commands.other.eq(other),
            rows.hold.eq(refresh.hold),
            rows.closed.eq(refresh.command == COMMANDS["precharge"]),
            refresh.quiet.eq(rows.quiet),
            self.ready.eq(refresh.ready),
        ]
        m.d.sync += refresh.idle.eq(~rows.busy & ~reads.o_segment.valid & ~writes.o_segment.valid)

        m.d.comb += [
            reads.issued.eq(column.valid & ~column.write),
            writes.issued.eq(column.valid & column.write),
            words.read.eq(reads.issued),
            words.write.eq(writes.issued & (column.resp == RESP_OKAY)),
            words.beat.eq(writes.beat),
            reads.word_valid.eq(words.word_valid),
            reads.word.eq(words.word),
        ]
        for half in (reads, writes):
            m.d.comb += [
                half.issued_id.eq(column.id),
                half.issued_resp.eq(column.resp),
                half.issued_last.eq(column.last),
            ]

        self._elaborate_turns(m, reads.o_segment, writes.o_segment, rows.i_segment)
        self._elaborate_ports(m, reads, writes)
        pins = self.pins
        m.d.comb += [
            pins.cke.eq(1),
            pins.cs_n.eq(0),
            Cat(pins.we_n, pins.cas_n, pins.ras_n).eq(commands.command),
            pins.ba.eq(commands.ba),
            pins.a.eq(commands.a),
            pins.dqm.eq(words.dqm),
            pins.dq_out.eq(words.dq_out),
            pins.dq_oe.eq(words.dq_oe),
            words.dq_in.eq(pins.dq_in),
        ]
        return m

    def _elaborate_turns(self, m, reads, writes, taken):
        """Let reads and writes pass in turns; a turn of the pins costs them several cycles."""
        writing = Signal()
        spent = Signal(range(self.TURN_SEGMENTS + 1))
        is_spent = spent == self.TURN_SEGMENTS
        patience = Cooldown(m, self.PATIENCE_CYCLES, "patience")

        def has_turn(mine, others):
            m.d.comb += [
                taken.valid.eq(mine.valid),
                taken.payload.eq(mine.payload),
                mine.ready.eq(taken.ready),
            ]
            with m.If(mine.valid & taken.ready):
                patience.start(self.PATIENCE_CYCLES)
                with m.If(~is_spent):
                    m.d.sync += spent.eq(spent + 1)
            with m.Elif(others.valid & (is_spent | (~mine.valid & patience.over))):
                m.d.sync += [writing.eq(~writing), spent.eq(0)]

        with m.If(writing):
            has_turn(writes, reads)
        with m.Else():
            has_turn(reads, writes)

    def _elaborate_ports(self, m, reads, writes):
        axi = flipped(self.axi)
        for channel, half in (("ar", reads), ("aw", writes)):
            m.d.comb += [
                half.i_burst.valid.eq(getattr(axi, f"{channel}valid")),
                getattr(axi, f"{channel}ready").eq(half.i_burst.ready),
                *(
                    half.i_burst.p[name].eq(getattr(axi, f"{channel}{name}"))
                    for name in ("id", "addr", "len", "size", "burst")
                ),
            ]
        m.d.comb += [
            writes.i_beat.valid.eq(axi.wvalid),
            writes.i_beat.p.data.eq(axi.wdata),
            writes.i_beat.p.strobe.eq(axi.wstrb),
            axi.wready.eq(writes.i_beat.ready),
            axi.bvalid.eq(writes.o_response.valid),
            axi.bid.eq(writes.o_response.p.id),
            axi.bresp.eq(writes.o_response.p.resp),
            writes.o_response.ready.eq(axi.bready),
            axi.rvalid.eq(reads.o_beat.valid),
            axi.rid.eq(reads.o_beat.p.id),
            axi.rdata.eq(reads.o_beat.p.data),
            axi.rresp.eq(reads.o_beat.p.resp),
            axi.rlast.eq(reads.o_beat.p.last),
            reads.o_beat.ready.eq(axi.rready),
        ]
