"""The debug bridge: carries out what a host asks for in frames on a serial line.

Longer than 400 lines: the states of one machine, which share the frame that they work on.
"""

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from hw.lib.axi import Axi4, Axi4Lite
from hw.lib.parameter import check_positive
from hw.lib.slice import Slice
from hw.spec.bridge import (
    BOARDS,
    PING_BYTES,
    REGISTER_BYTES,
    REPLY_BIT,
    REQUEST_BYTES,
    STATUSES,
    VERSION,
)

from .bridge_check import REQUEST_LAYOUT, BridgeCheck
from .bridge_history import BridgeHistory, Verdict
from .bridge_memory import LINE_BEATS, BridgeMemory
from .bridge_ping import BridgePing
from .bridge_receiver import BridgeReceiver
from .bridge_registers import BridgeRegisters
from .bridge_transmitter import BODY_BYTE, BridgeTransmitter

__all__ = ["Bridge"]


class Bridge(wiring.Component):
    """Answer the frames of `hw.spec.bridge`, one after the other.

    Parameters
    ----------
    board : str
        Of `BOARDS`.
    config_digest, version : int
        What a host is told of the chip's configuration (by `config_digest`) and of the protocol.
    clock_hz : int
        Frequency of the clock.
    memory_bytes : int
        Size of the memory, which begins at address 0.
    port_bytes : int
        Width of the memory port, in bytes. A power of two.
    csr_addr_width : int
        Width of a register's address.
    bus_timeout : int
        Cycles that an access may take.

    Members
    -------
    i_byte, o_byte : In, Out(stream.Signature(8))
        The line's bytes. ``i_byte.ready`` is always high.
    framing_error, line_break, overrun : In(1)
        Strobes: a byte was lost.
    axil : Out(Axi4Lite(addr_width=csr_addr_width))
        The chip's registers.
    axi : Out(Axi4(data_bytes=port_bytes))
        The memory, in bursts of `LINE_BEATS` beats at most, one at a time.
    reset_request : Out(1)
        High for `RESET_CYCLES` cycles: reset all that is behind ``axil`` and ``axi``. Whatever was
        on these buses is forgotten.

    Timing
    ------
    A frame is carried out when those before were answered: its registers after about 40 cycles,
    memory at two cycles a byte and the memory's latency for each burst. Meanwhile frames of 2048
    bytes together may arrive; what finds no room is dropped.

    Raises
    ------
    TypeError, ValueError
        A parameter is not as above.
    """

    #: Length of a reset, in cycles.
    RESET_CYCLES = 64

    def __init__(
        self,
        *,
        board,
        config_digest,
        clock_hz,
        memory_bytes,
        port_bytes=8,
        csr_addr_width=12,
        bus_timeout=1 << 20,
        version=VERSION,
    ):
        if board not in BOARDS:
            raise ValueError(f"board must be one of {', '.join(BOARDS)}, not {board!r}")
        check_positive("clock_hz", clock_hz)
        check_positive("memory_bytes", memory_bytes)
        check_positive("bus_timeout", bus_timeout)
        self.csr_addr_width = csr_addr_width
        self.bus_timeout = bus_timeout
        self._memory = BridgeMemory(port_bytes=port_bytes)
        self._ping = BridgePing(
            board=board,
            config_digest=config_digest,
            clock_hz=clock_hz,
            memory_bytes=memory_bytes,
            version=version,
        )
        self._check = BridgeCheck(memory_bytes=memory_bytes, csr_addr_width=csr_addr_width)
        self._line_bytes = LINE_BEATS * port_bytes
        super().__init__({
            "i_byte": In(stream.Signature(8)),
            "o_byte": Out(stream.Signature(8)),
            **{name: In(1) for name in ("framing_error", "line_break", "overrun")},
            "axil": Out(Axi4Lite(addr_width=csr_addr_width)),
            "axi": Out(Axi4(data_bytes=port_bytes)),
            "reset_request": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = self._receiver = receiver = BridgeReceiver()
        m.submodules.transmitter = transmitter = BridgeTransmitter()
        # The slice keeps the choice of a byte and its CRC out of one cycle.
        m.submodules.reply = reply = Slice(BODY_BYTE)
        reset = ResetInserter(self.reset_request)
        m.submodules.memory = reset(self._memory)
        self._registers = BridgeRegisters(addr_width=self.csr_addr_width)
        m.submodules.registers = reset(self._registers)
        connect(m, flipped(self.i_byte), receiver.i_byte)
        connect(m, reply.o, transmitter.i_byte)
        connect(m, transmitter.o_byte, flipped(self.o_byte))
        connect(m, self._memory.axi, flipped(self.axi))
        connect(m, self._registers.axil, flipped(self.axil))
        m.d.comb += receiver.bad.eq(self.framing_error | self.line_break | self.overrun)
        self._reply = reply.i

        self._left = Signal.like(receiver.o_frame.p.length)  # bytes of the frame
        self._empty = Signal()  # none is left
        self._expired = Signal()  # the timer has come to 0
        self._crc = Signal(32)
        self._request = Signal(REQUEST_LAYOUT)
        self._status = Signal(8)
        self._value = Signal(32)  # of a register, to be written or to be returned
        self._index = Signal(range(max(PING_BYTES, REQUEST_BYTES)))
        self._timer = Signal(range(max(self.bus_timeout, self.RESET_CYCLES) + 1))
        self._is_new = Signal()  # the frame is carried out for the first time
        m.d.sync += [
            self._timer.eq(Mux(self._timer == 0, 0, self._timer - 1)),
            self._expired.eq(self._timer == 0),
            self.reset_request.eq(0),
        ]
        m.submodules.ping = ping = self._ping
        m.submodules.history = history = self._history = BridgeHistory()
        m.submodules.check = check = self._check
        m.d.comb += [
            ping.dropped.eq(receiver.dropped),
            ping.framing_error.eq(self.framing_error),
            ping.line_break.eq(self.line_break),
            ping.nonce.eq(self._request.addr),
            ping.index.eq(self._index),
            history.sequence.eq(self._request.sequence),
            history.crc.eq(self._crc),
            history.status.eq(self._status),
            history.data.eq(self._value),
            check.request.eq(self._request),
            check.data_bytes.eq(self._left),
        ]
        with m.FSM():
            self._take_states(m)
            self._judge_states(m)
            self._register_states(m)
            self._memory_states(m)
            self._reply_states(m)
        return m

    def _take_byte(self, m):
        """Take a byte of the frame; true in the cycle in which there is one."""
        taken = self._receiver.o_byte.valid
        m.d.comb += self._receiver.o_byte.ready.eq(1)
        with m.If(taken):
            m.d.sync += [self._left.eq(self._left - 1), self._empty.eq(self._left == 1)]
        return taken

    def _take_states(self, m):
        frame = self._receiver.o_frame
        with m.State("IDLE"):
            m.d.comb += frame.ready.eq(1)
            m.d.sync += [
                self._left.eq(frame.p.length),
                self._empty.eq(frame.p.length == 0),
                self._crc.eq(frame.p.crc),
                self._index.eq(0),
                self._is_new.eq(0),
                self._status.eq(STATUSES["ok"]),
            ]
            with m.If(frame.valid):
                m.next = "HEADER"
        with m.State("HEADER"):
            with m.If(self._empty):  # too short to say whom to answer
                m.next = "IDLE"
            with m.Else(), m.If(self._take_byte(m)):
                header = self._request.as_value()
                m.d.sync += [
                    header.eq(Cat(header[8:], self._receiver.o_byte.payload)),
                    self._index.eq(self._index + 1),
                ]
                with m.If(self._index == REQUEST_BYTES - 1):
                    m.next = "LOOK_UP"
        with m.State("LOOK_UP"):
            m.d.sync += self._index.eq(0)
            m.next = "COMPARE"
        with m.State("COMPARE"):
            m.next = "JUDGE"
        with m.State("SKIP"):
            with m.If(self._empty):
                m.d.sync += self._index.eq(0)
                m.next = "REPLY_OPCODE"
            with m.Else():
                self._take_byte(m)

    def _judge_states(self, m):
        history, check = self._history, self._check
        with m.State("JUDGE"):
            m.next = "SKIP"
            with m.If(check.is_ping & check.length_ok):
                m.d.comb += [history.begin.eq(1), self._ping.take.eq(1)]
                m.d.sync += self._is_new.eq(1)
            with m.Else(), m.Switch(history.verdict):
                with m.Case(Verdict.NEXT):
                    m.d.comb += history.accept.eq(1)
                    m.d.sync += self._is_new.eq(1)
                    m.next = "BEGIN"
                with m.Case(Verdict.AGAIN):
                    with m.If(check.is_read_memory & (history.outcome.status == STATUSES["ok"])):
                        m.next = "BEGIN"
                    with m.Else():
                        m.d.sync += [
                            self._status.eq(history.outcome.status),
                            self._value.eq(history.outcome.data),
                        ]
                with m.Case(Verdict.GAP):
                    m.d.sync += self._status.eq(STATUSES["gap"])
                with m.Case(Verdict.CONFLICT):
                    m.d.sync += self._status.eq(STATUSES["conflict"])
        with m.State("BEGIN"):
            m.d.sync += [self._timer.eq(self.bus_timeout), self._expired.eq(0)]
            m.next = "SKIP"
            with m.If(~check.length_ok):
                m.d.sync += self._status.eq(STATUSES["bad_request"])
            with m.Elif(~check.addr_ok):
                m.d.sync += self._status.eq(STATUSES["bad_address"])
            with m.Elif(check.is_reset):
                m.d.sync += self._timer.eq(self.RESET_CYCLES)
                m.next = "RESET"
            with m.Elif(check.is_write_register):
                m.next = "REGISTER_DATA"
            with m.Elif(check.is_read_register):
                m.next = "REGISTER_COMMAND"
            with m.Elif(check.is_write_memory):
                m.next = "LINE"
            with m.Else():
                # What is read leaves as it comes: the reply begins first.
                m.next = "REPLY_OPCODE"
        with m.State("RESET"):
            m.d.sync += self.reset_request.eq(self._timer != 0)
            with m.If(self._expired):
                m.next = "SKIP"

    def _fail(self, m, status):
        m.d.sync += self._status.eq(STATUSES[status])
        m.next = "FAILED"

    def _register_states(self, m):
        registers = self._registers
        is_write = self._check.is_write_register
        m.d.comb += [
            registers.i_command.p.write.eq(is_write),
            registers.i_command.p.addr.eq(self._request.addr),
            registers.i_command.p.data.eq(self._value),
        ]
        with m.State("REGISTER_DATA"):
            with m.If(self._take_byte(m)):
                m.d.sync += self._value.eq(Cat(self._value[8:], self._receiver.o_byte.payload))
                with m.If(self._left == 1):
                    m.next = "REGISTER_COMMAND"
        with m.State("REGISTER_COMMAND"):
            m.d.comb += registers.i_command.valid.eq(1)
            with m.If(registers.i_command.ready):
                m.next = "REGISTER_WAIT"
            with m.Elif(self._expired):
                self._fail(m, "timeout")
        with m.State("REGISTER_WAIT"):
            with m.If(registers.done):
                with m.If(~is_write):
                    m.d.sync += self._value.eq(registers.data)
                m.next = "SKIP"
                with m.If(registers.error):
                    self._fail(m, "bus_error")
            with m.Elif(self._expired):
                self._fail(m, "timeout")

    def _memory_states(self, m):
        line = self._memory
        request = self._request
        is_write = self._check.is_write_memory
        chunk = Signal(range(self._line_bytes + 1))
        moved = Signal.like(chunk)
        last = Signal()  # of the frame's lines
        room = Signal.like(chunk)  # bytes from the address to the end of its line
        fits = Signal()  # all that is left lies before
        last_moved = Signal.like(chunk)
        m.d.sync += [
            room.eq(self._line_bytes - request.addr[: exact_log2(self._line_bytes)]),
            fits.eq(request.count <= room),
            last_moved.eq(chunk - 1),
        ]
        m.d.comb += [
            line.i_command.p.write.eq(is_write),
            line.i_command.p.addr.eq(request.addr),
            line.i_command.p.count.eq(chunk),
            line.i_byte.payload.eq(self._receiver.o_byte.payload),
        ]
        with m.State("LINE_MEASURE"):
            m.next = "LINE_COMPARE"
        with m.State("LINE_COMPARE"):
            m.next = "LINE"
        with m.State("LINE"):
            m.d.sync += [
                last.eq(fits),
                chunk.eq(Mux(fits, request.count, room)),
                moved.eq(0),
                self._timer.eq(self.bus_timeout),
                self._expired.eq(0),
            ]
            m.next = "LINE_COMMAND"
        with m.State("LINE_COMMAND"):
            m.d.comb += line.i_command.valid.eq(1)
            with m.If(line.i_command.ready):
                m.next = "LINE_WAIT"
                with m.If(is_write):
                    m.next = "LINE_FILL"
            with m.Elif(self._expired):
                self._fail(m, "timeout")
        with m.State("LINE_FILL"):
            with m.If(line.i_byte.ready):
                m.d.comb += line.i_byte.valid.eq(self._receiver.o_byte.valid)
                with m.If(self._take_byte(m)):
                    m.d.sync += moved.eq(moved + 1)
                    with m.If(moved == last_moved):
                        m.next = "LINE_WAIT"
        with m.State("LINE_WAIT"):
            m.d.sync += moved.eq(0)
            with m.If(line.done):
                m.next = "LINE_DRAIN"
                with m.If(is_write):
                    m.next = "LINE_NEXT"
                with m.If(line.error):
                    self._fail(m, "bus_error")
            with m.Elif(self._expired):
                m.d.comb += line.abandon.eq(1)
                self._fail(m, "timeout")
        with m.State("LINE_DRAIN"):
            m.d.comb += [
                self._reply.p.data.eq(line.o_byte.payload),
                self._reply.valid.eq(line.o_byte.valid),
                line.o_byte.ready.eq(self._reply.ready),
            ]
            with m.If(line.o_byte.valid & self._reply.ready):
                m.d.sync += moved.eq(moved + 1)
                with m.If(moved == last_moved):
                    m.next = "LINE_NEXT"
        with m.State("LINE_NEXT"):
            m.d.sync += [
                request.addr.eq(request.addr + chunk),
                request.count.eq(request.count - chunk),
            ]
            m.next = "LINE_MEASURE"
            with m.If(last):
                m.next = "SKIP"
                with m.If(~is_write):
                    m.next = "REPLY_STATUS"
        with m.State("FAILED"):
            m.next = "SKIP"
            with m.If(self._check.is_read_memory):  # its reply has begun
                m.next = "REPLY_STATUS"

    def _reply_states(self, m):
        reply, check = self._reply, self._check
        ok = self._status == STATUSES["ok"]
        with m.State("REPLY_OPCODE"):
            m.d.comb += [reply.valid.eq(1), reply.p.data.eq(self._request.opcode | REPLY_BIT)]
            with m.If(reply.ready):
                m.next = "REPLY_SEQUENCE"
        with m.State("REPLY_SEQUENCE"):
            m.d.comb += [reply.valid.eq(1), reply.p.data.eq(self._request.sequence)]
            with m.If(reply.ready):
                m.next = "REPLY_STATUS"
                with m.If(ok & check.is_read_memory):
                    m.next = "LINE"
                with m.Elif(ok & check.is_ping):
                    m.next = "REPLY_PING"
                with m.Elif(ok & check.is_read_register):
                    m.next = "REPLY_VALUE"
        for state, byte, count in (
            ("REPLY_PING", self._ping.byte, PING_BYTES),
            ("REPLY_VALUE", self._value.word_select(self._index[:2], 8), REGISTER_BYTES),
        ):
            with m.State(state):
                m.d.comb += [reply.valid.eq(1), reply.p.data.eq(byte)]
                with m.If(reply.ready):
                    m.d.sync += self._index.eq(self._index + 1)
                    m.next = f"{state}_NEXT"
                    with m.If(self._index == count - 1):
                        m.next = "REPLY_STATUS"
            with m.State(f"{state}_NEXT"):  # its value comes a cycle after the index
                m.next = state
        with m.State("REPLY_STATUS"):
            m.d.comb += [reply.valid.eq(1), reply.p.data.eq(self._status), reply.p.last.eq(1)]
            with m.If(reply.ready):
                m.d.comb += self._history.finish.eq(self._is_new)
                m.next = "IDLE"
