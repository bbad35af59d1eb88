"""The debug bridge: carries out what a host asks for in frames on a serial line."""

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from hw.lib.axi import Axi4, Axi4Lite
from hw.lib.parameter import check_positive
from hw.lib.slice import Slice
from hw.spec.bridge import (
    BOARDS,
    MAGIC,
    MAX_DATA,
    OPCODES,
    PING,
    PING_BYTES,
    REGISTER_BYTES,
    REPLY_BIT,
    REQUEST,
    REQUEST_BYTES,
    STATUSES,
    VERSION,
    WINDOW,
)

from .bridge_memory import LINE_BEATS, BridgeMemory
from .bridge_receiver import BridgeReceiver
from .bridge_registers import BridgeRegisters
from .bridge_transmitter import BODY_BYTE, BridgeTransmitter

__all__ = ["Bridge"]

_REQUEST = data.StructLayout({name: 8 * size for name, size in REQUEST})
#: What is kept of a frame that was carried out.
_OUTCOME = data.StructLayout({"crc": 32, "status": 8, "data": 32})
_COUNTERS = {"dropped_frames": "dropped", "framing_errors": "framing_error", "breaks": "line_break"}


class Bridge(wiring.Component):
    """Answer the frames of `hw.spec.bridge`, one after the other.

    Parameters
    ----------
    board : str
        Of `BOARDS`.
    config_digest : int
        Of the chip's configuration, by `hw.spec.bridge.config_digest`.
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
    A frame is carried out when those before were answered: its registers after about 20 cycles,
    memory at a byte per cycle and the memory's latency for each burst. Meanwhile frames of 2048
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
    ):
        if board not in BOARDS:
            raise ValueError(f"board must be one of {', '.join(BOARDS)}, not {board!r}")
        for name, value in (
            ("clock_hz", clock_hz),
            ("memory_bytes", memory_bytes),
            ("bus_timeout", bus_timeout),
        ):
            check_positive(name, value)
        self.board = board
        self.config_digest = config_digest
        self.clock_hz = clock_hz
        self.memory_bytes = memory_bytes
        self.csr_addr_width = csr_addr_width
        self.bus_timeout = bus_timeout
        self._memory = BridgeMemory(port_bytes=port_bytes)
        self._line_bytes = LINE_BEATS * port_bytes
        super().__init__({
            "i_byte": In(stream.Signature(8)),
            "o_byte": Out(stream.Signature(8)),
            "framing_error": In(1),
            "line_break": In(1),
            "overrun": In(1),
            "axil": Out(Axi4Lite(addr_width=csr_addr_width)),
            "axi": Out(Axi4(data_bytes=port_bytes)),
            "reset_request": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = self._receiver = receiver = BridgeReceiver()
        m.submodules.transmitter = transmitter = BridgeTransmitter()
        # The slice keeps the choice of a byte and its escape out of one cycle.
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
        self._crc = Signal(32)
        self._request = Signal(_REQUEST)
        self._status = Signal(8)
        self._outcome = Signal(_OUTCOME)  # of an earlier frame with this sequence number
        self._value = Signal(32)  # of a register, to be written or to be returned
        self._index = Signal(range(max(PING_BYTES, REQUEST_BYTES)))
        self._timer = Signal(range(max(self.bus_timeout, self.RESET_CYCLES) + 1))
        self._record = Signal()  # the frame was carried out for the first time
        self._opcode = {name: Signal(name=f"is_{name}") for name in OPCODES}
        for name, opcode in OPCODES.items():
            m.d.comb += self._opcode[name].eq(self._request.opcode == opcode.code)

        self._elaborate_ping(m)
        self._elaborate_sequence(m)
        m.d.sync += self._timer.eq(Mux(self._timer == 0, 0, self._timer - 1))
        with m.FSM():
            self._take_states(m)
            self._judge_states(m)
            self._register_states(m)
            self._memory_states(m)
            self._reply_states(m)
        return m

    def _elaborate_ping(self, m):
        """Make the byte of a ping's reply at ``_index``; counters are of the moment of its frame."""
        cycles = Signal(64)
        m.d.sync += cycles.eq(cycles + 1)
        sources = {"cycles": cycles}
        self._receiver_strobes = {
            "dropped": self._receiver.dropped,
            "framing_error": self.framing_error,
            "line_break": self.line_break,
        }
        for field, strobe in _COUNTERS.items():
            sources[field] = counter = Signal(8 * dict(PING)[field], name=field)
            with m.If(self._receiver_strobes[strobe] & ~counter.all()):
                m.d.sync += counter.eq(counter + 1)
        self._take_snapshot = Signal()
        values = {
            "magic": MAGIC,
            "version": VERSION,
            "board": BOARDS[self.board],
            "nonce": self._request.addr,
            "config_digest": self.config_digest,
            "clock_hz": self.clock_hz,
            "memory_bytes": self.memory_bytes,
            "spare": 0,
        }
        for field, source in sources.items():
            values[field] = snapshot = Signal.like(source, name=f"{field}_snapshot")
            with m.If(self._take_snapshot):
                m.d.sync += snapshot.eq(source)
        self._ping_byte = Signal(8)
        offset = 0
        with m.Switch(self._index):
            for field, size in PING:
                for byte in range(size):
                    with m.Case(offset + byte):
                        m.d.comb += self._ping_byte.eq(values[field] >> 8 * byte)
                offset += size

    def _elaborate_sequence(self, m):
        """Remember what became of the last frames."""
        m.submodules.outcomes = outcomes = memory.Memory(shape=_OUTCOME, depth=WINDOW, init=[])
        write, read = outcomes.write_port(), outcomes.read_port(domain="comb")
        place = self._request.sequence[: exact_log2(WINDOW)]
        self._expected = Signal(8)
        self._recent = Signal(range(WINDOW + 1))  # outcomes that are of this session
        self._age = Signal(8)
        self._remember = Signal()
        m.d.comb += [
            read.addr.eq(place),
            write.addr.eq(place),
            write.data.crc.eq(self._crc),
            write.data.status.eq(self._status),
            write.data.data.eq(self._value),
            write.en.eq(self._remember),
        ]
        m.d.sync += [
            self._outcome.eq(read.data),
            self._age.eq(self._expected - self._request.sequence),
        ]

    def _take_byte(self, m):
        """Take a byte of the frame; true in the cycle in which there is one."""
        m.d.comb += self._receiver.o_byte.ready.eq(1)
        taken = self._receiver.o_byte.valid
        with m.If(taken):
            m.d.sync += self._left.eq(self._left - 1)
        return taken

    def _take_states(self, m):
        frame = self._receiver.o_frame
        with m.State("IDLE"):
            m.d.comb += frame.ready.eq(1)
            m.d.sync += [
                self._left.eq(frame.p.length),
                self._crc.eq(frame.p.crc),
                self._index.eq(0),
                self._record.eq(0),
                self._status.eq(STATUSES["ok"]),
            ]
            with m.If(frame.valid):
                m.next = "HEADER"
        with m.State("HEADER"):
            with m.If(self._left == 0):  # too short to say whom to answer
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
            m.next = "CHECK_LENGTH"
        with m.State("SKIP"):
            with m.If(self._left == 0):
                m.d.sync += self._index.eq(0)
                m.next = "REPLY_OPCODE"
            with m.Else():
                self._take_byte(m)

    def _judge_states(self, m):
        request, is_ = self._request, self._opcode
        length_ok = Signal()
        inside = Signal()
        end = Signal(33)
        with m.State("CHECK_LENGTH"):
            count = Signal.like(request.count)
            m.d.comb += count.eq(request.count)
            with_data = sum(op.has_data << i for i, op in enumerate(OPCODES.values()))
            has_data = (Cat(*is_.values()) & with_data).any()
            m.d.sync += length_ok.eq(
                (self._left == Mux(has_data, count, 0))
                & (
                    ((is_["ping"] | is_["reset"]) & (count == 0))
                    | ((is_["read_register"] | is_["write_register"]) & (count == REGISTER_BYTES))
                    | (
                        (is_["read_memory"] | is_["write_memory"])
                        & (count != 0)
                        & (count <= MAX_DATA)
                    )
                )
            )
            m.d.sync += end.eq(request.addr + count)
            m.next = "CHECK_SEQUENCE"
        with m.State("CHECK_SEQUENCE"):
            is_memory = is_["read_memory"] | is_["write_memory"]
            is_register = is_["read_register"] | is_["write_register"]
            m.d.sync += inside.eq(
                (~is_memory | (end <= self.memory_bytes))
                & (
                    ~is_register
                    | ((request.addr[:2] == 0) & (request.addr >> self.csr_addr_width == 0))
                )
            )
            m.next = "SKIP"
            with m.If(is_["ping"] & length_ok):
                m.d.sync += [
                    self._expected.eq(request.sequence + 1),
                    self._recent.eq(1),
                    self._record.eq(1),
                ]
                m.d.comb += self._take_snapshot.eq(1)
            with m.Elif(self._age == 0):
                m.d.sync += [
                    self._expected.eq(self._expected + 1),
                    self._recent.eq(Mux(self._recent == WINDOW, WINDOW, self._recent + 1)),
                    self._record.eq(1),
                ]
                m.next = "BEGIN"
            with m.Elif(self._age > self._recent):
                m.d.sync += self._status.eq(STATUSES["gap"])
            with m.Elif(self._outcome.crc != self._crc):
                m.d.sync += self._status.eq(STATUSES["conflict"])
            with m.Elif(is_["read_memory"] & (self._outcome.status == STATUSES["ok"])):
                m.next = "BEGIN"
            with m.Else():
                m.d.sync += [
                    self._status.eq(self._outcome.status),
                    self._value.eq(self._outcome.data),
                ]
        with m.State("BEGIN"):
            m.d.sync += self._timer.eq(self.bus_timeout)
            m.next = "SKIP"
            with m.If(~length_ok):
                m.d.sync += self._status.eq(STATUSES["bad_request"])
            with m.Elif(~inside):
                m.d.sync += self._status.eq(STATUSES["bad_address"])
            with m.Elif(is_["reset"]):
                m.d.sync += self._timer.eq(self.RESET_CYCLES)
                m.next = "RESET"
            with m.Elif(is_["write_register"]):
                m.next = "REGISTER_DATA"
            with m.Elif(is_["read_register"]):
                m.next = "REGISTER_COMMAND"
            with m.Elif(is_["write_memory"]):
                m.next = "LINE"
            with m.Else():
                # What is read leaves as it comes: the reply begins first.
                m.next = "REPLY_OPCODE"
        with m.State("RESET"):
            m.d.comb += self.reset_request.eq(self._timer != 0)
            with m.If(self._timer == 0):
                m.next = "SKIP"

    def _fail(self, m, status):
        m.d.sync += self._status.eq(STATUSES[status])
        m.next = "FAILED"

    def _register_states(self, m):
        registers = self._registers
        is_write = self._opcode["write_register"]
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
            with m.Elif(self._timer == 0):
                self._fail(m, "timeout")
        with m.State("REGISTER_WAIT"):
            with m.If(registers.done):
                with m.If(~is_write):
                    m.d.sync += self._value.eq(registers.data)
                m.next = "SKIP"
                with m.If(registers.error):
                    self._fail(m, "bus_error")
            with m.Elif(self._timer == 0):
                self._fail(m, "timeout")

    def _memory_states(self, m):
        line = self._memory
        request = self._request
        is_write = self._opcode["write_memory"]
        chunk = Signal(range(self._line_bytes + 1))
        moved = Signal.like(chunk)
        last = Signal()  # of the frame's lines
        m.d.comb += [
            line.i_command.p.write.eq(is_write),
            line.i_command.p.addr.eq(request.addr),
            line.i_command.p.count.eq(chunk),
            line.i_byte.payload.eq(self._receiver.o_byte.payload),
        ]
        with m.State("LINE"):
            room = Signal.like(chunk)
            m.d.comb += room.eq(self._line_bytes - request.addr[: exact_log2(self._line_bytes)])
            m.d.sync += [
                last.eq(request.count <= room),
                chunk.eq(Mux(request.count <= room, request.count, room)),
                moved.eq(0),
                self._timer.eq(self.bus_timeout),
            ]
            m.next = "LINE_COMMAND"
        with m.State("LINE_COMMAND"):
            m.d.comb += line.i_command.valid.eq(1)
            with m.If(line.i_command.ready):
                m.next = "LINE_WAIT"
                with m.If(is_write):
                    m.next = "LINE_FILL"
            with m.Elif(self._timer == 0):
                self._fail(m, "timeout")
        with m.State("LINE_FILL"):
            with m.If(line.i_byte.ready):
                m.d.comb += line.i_byte.valid.eq(self._receiver.o_byte.valid)
                with m.If(self._take_byte(m)):
                    m.d.sync += moved.eq(moved + 1)
                    with m.If(moved + 1 == chunk):
                        m.next = "LINE_WAIT"
        with m.State("LINE_WAIT"):
            m.d.sync += moved.eq(0)
            with m.If(line.done):
                m.next = "LINE_DRAIN"
                with m.If(is_write):
                    m.next = "LINE_NEXT"
                with m.If(line.error):
                    self._fail(m, "bus_error")
            with m.Elif(self._timer == 0):
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
                with m.If(moved + 1 == chunk):
                    m.next = "LINE_NEXT"
        with m.State("LINE_NEXT"):
            m.d.sync += [
                request.addr.eq(request.addr + chunk),
                request.count.eq(request.count - chunk),
            ]
            m.next = "LINE"
            with m.If(last):
                m.next = "SKIP"
                with m.If(~is_write):
                    m.next = "REPLY_STATUS"
        with m.State("FAILED"):
            m.next = "SKIP"
            with m.If(self._opcode["read_memory"]):  # its reply has begun
                m.next = "REPLY_STATUS"

    def _reply_states(self, m):
        reply, is_ = self._reply, self._opcode
        ok = self._status == STATUSES["ok"]
        with m.State("REPLY_OPCODE"):
            m.d.comb += [
                reply.valid.eq(1),
                reply.p.data.eq(self._request.opcode | REPLY_BIT),
            ]
            with m.If(reply.ready):
                m.next = "REPLY_SEQUENCE"
        with m.State("REPLY_SEQUENCE"):
            m.d.comb += [reply.valid.eq(1), reply.p.data.eq(self._request.sequence)]
            with m.If(reply.ready):
                m.next = "REPLY_STATUS"
                with m.If(ok & is_["read_memory"]):
                    m.next = "LINE"
                with m.Elif(ok & is_["ping"]):
                    m.next = "REPLY_PING"
                with m.Elif(ok & is_["read_register"]):
                    m.next = "REPLY_VALUE"
        for state, byte, count in (
            ("REPLY_PING", self._ping_byte, PING_BYTES),
            ("REPLY_VALUE", self._value.word_select(self._index[:2], 8), REGISTER_BYTES),
        ):
            with m.State(state):
                m.d.comb += [reply.valid.eq(1), reply.p.data.eq(byte)]
                with m.If(reply.ready):
                    m.d.sync += self._index.eq(self._index + 1)
                    with m.If(self._index == count - 1):
                        m.next = "REPLY_STATUS"
        with m.State("REPLY_STATUS"):
            m.d.comb += [
                reply.valid.eq(1),
                reply.p.data.eq(self._status),
                reply.p.last.eq(1),
            ]
            with m.If(reply.ready):
                m.d.comb += self._remember.eq(self._record)
                m.next = "IDLE"
