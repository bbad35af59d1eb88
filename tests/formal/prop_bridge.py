"""The bridge's way to memory: the rules of AXI4, and that bytes come and go as they were asked."""

from unittest.mock import patch

from amaranth.hdl import Cat, Mux, Signal
from amaranth.utils import exact_log2

from hw.board import bridge_memory
from hw.board.bridge_memory import LINE_BEATS, BridgeMemory
from hw.board.bridge_registers import BridgeRegisters
from hw.lib.axi import RESP_OKAY
from scripts.verify.formal_bench import Bench
from scripts.verify.formal_property import Bug, Property
from tests.formal.axi_rules import Writes, check_burst, check_kind, check_offers_stay

_FILE = "hw/board/bridge_memory.py"


class _ShortLines(BridgeMemory):
    """A bridge whose lines have two beats: whole lines, and two of them, in few cycles."""

    BEATS = 2

    def __init__(self, **arguments):
        with patch.object(bridge_memory, "LINE_BEATS", self.BEATS):
            super().__init__(**arguments)

    def elaborate(self, platform):
        with patch.object(bridge_memory, "LINE_BEATS", self.BEATS):
            return super().elaborate(platform)


class _Commands:
    """The commands that a bridge gives: each inside one line, and one after the other.

    Members
    -------
    taken, now : Signal
        A command is taken; the one that was taken last.
    first, last : Value
        Byte of its first beat that it begins with, byte of its burst that it ends with.
    """

    def __init__(self, b, dut, beats=LINE_BEATS):
        command = dut.i_command
        line = beats * dut.port_bytes
        room = line - command.p.addr[: exact_log2(line)]
        inside = (command.p.count != 0) & (command.p.count <= room)
        b.assume(~command.valid | inside, "commands_are_inside_a_line")
        self.taken = command.valid & command.ready
        self.now = b.register(command.payload.shape(), "now", init=None)
        with b.m.If(self.taken):
            b.m.d.sync += self.now.eq(command.payload)
        self.shift = exact_log2(dut.port_bytes)
        self.first = self.now.addr[: self.shift]
        self.last = (self.first + self.now.count - 1)[: exact_log2(line)]


def stable():
    """Whatever commands come."""
    b = Bench()
    check_offers_stay(b, b.drive(BridgeMemory(port_bytes=4)).axi)
    return b


def registers():
    """AXI4-Lite: offers stay, and no command is taken while one is not answered."""
    b = Bench()
    m = b.m
    dut = b.drive(BridgeRegisters(addr_width=12))
    axil = dut.axil
    check_offers_stay(b, axil, address=("addr", "prot"), data=("data", "strb"))
    waiting = [getattr(axil, f"{n}valid") & ~getattr(axil, f"{n}ready") for n in ("ar", "aw", "w")]
    answers = axil.bvalid | axil.rvalid
    b.assume(~answers | ~Cat(waiting).any(), "answers_come_after_what_they_answer")
    takes = dut.i_command.valid & dut.i_command.ready
    is_open = b.register(1, "is_open")
    with m.If(takes | answers):
        m.d.sync += is_open.eq(takes)
    b.assume(~answers | is_open, "answers_are_of_a_command")
    b.always(dut.i_command.ready == ~is_open, "one_command_after_the_other")
    b.always(is_open | ~(axil.arvalid | axil.awvalid | axil.wvalid), "asks_for_nothing_else")
    b.always(dut.done == b.past(answers, "answers"), "done_tells_the_answer")
    b.cover(dut.done & dut.error & ~dut.data.any(), "a_failure")
    return b


def bursts():
    """Of every address that is asked for: the command's, of one burst at a time."""
    b = Bench()
    dut = b.drive(BridgeMemory(port_bytes=4))
    axi = dut.axi
    commands = _Commands(b, dut)
    b.assume((axi.bvalid == 0) & (axi.rvalid == 0), "no_answers_yet")
    for channel, is_write in (("ar", 0), ("aw", 1)):
        valid = getattr(axi, f"{channel}valid")
        beats = getattr(axi, f"{channel}len") + 1
        addr = getattr(axi, f"{channel}addr")
        check_burst(b, valid, addr, beats, LINE_BEATS, channel, data_bytes=4)
        check_kind(b, axi, channel, data_bytes=4)
        b.always(~valid | (commands.now.write == is_write), f"{channel}_is_of_its_command")
        b.always(~valid | (addr == commands.now.addr & ~3), f"{channel}_begins_as_it_says")
        b.always(~valid | (beats == (commands.last >> 2) + 1), f"{channel}_ends_as_it_says")
        b.always(getattr(axi, f"{channel}id") == 0, f"{channel}_has_id_0")
        last = valid & ((addr[:12] + (beats << 2)) == 4096)
        b.cover(last & (beats == (LINE_BEATS if channel == "ar" else 2)), f"{channel}_ends_a_page")
    return b


def write():
    """From a command and its bytes to the answer, of any command, and of what follows it."""
    b = Bench()
    m = b.m
    dut = b.drive(_ShortLines(port_bytes=2), fix={"abandon": 0})
    axi = dut.axi
    commands = _Commands(b, dut, dut.BEATS)
    now = commands.now
    b.assume(axi.rvalid == 0, "no_reads")
    writes = Writes(b, axi)
    is_open = writes.asked != writes.answered
    b.always(~axi.awvalid | ~is_open, "one_burst_at_a_time")
    b.always(~commands.taken | ~is_open, "no_command_before_the_answer")
    b.always(~axi.arvalid | ~is_open, "no_read_before_the_answer")
    # Of one byte, any one: it is what was taken for its place.
    bytes_taken = b.register(3, "bytes_taken")
    place = b.constant(2, "place")  # in the burst
    byte = b.register(8, "byte")
    moves = dut.i_byte.valid & dut.i_byte.ready
    with m.If(commands.taken):
        m.d.sync += bytes_taken.eq(0)
    with m.Elif(moves):
        m.d.sync += bytes_taken.eq(bytes_taken + 1)
        with m.If(commands.first + bytes_taken == place):
            m.d.sync += byte.eq(dut.i_byte.payload)
    b.always(~moves | (now.write & (bytes_taken < now.count)), "takes_no_byte_too_many")
    b.always(~axi.awvalid | (bytes_taken == now.count), "all_bytes_are_there")
    here = axi.wvalid & (writes.beat == place >> 1)
    strobe = axi.wstrb.bit_select(place[0], 1)
    within = (place >= commands.first) & (place <= commands.last)
    b.always(~here | (strobe == within), "writes_its_bytes_only")
    lane = axi.wdata.word_select(place[0], 8)
    b.always(~here | ~strobe | (lane == byte), "writes_what_it_was_given")
    b.always(dut.done == b.past(axi.bvalid, "answer"), "done_tells_the_answer")
    failed = b.past(axi.bresp != RESP_OKAY, "bad")
    b.always(~dut.done | (dut.error == failed), "error_tells_what_it_was")
    b.cover(here & strobe & (byte != 0) & (now.count == 4), "a_whole_line")
    b.cover(here & (writes.number == 1) & (writes.length == 1), "a_second_burst")
    b.cover(dut.done & dut.error, "a_failure")
    return b


def read():
    """From a command to its bytes."""
    b = Bench()
    m = b.m
    dut = b.drive(_ShortLines(port_bytes=2))
    axi = dut.axi
    commands = _Commands(b, dut, dut.BEATS)
    now = commands.now
    b.assume(~dut.i_command.valid | ~dut.i_command.p.write, "no_writes")
    # The memory gives as many beats as were asked for.
    left = b.register(2, "left")
    asks = axi.arvalid & axi.arready
    with m.If(asks):
        m.d.sync += left.eq(axi.arlen + 1)
    with m.Elif(axi.rvalid):
        m.d.sync += left.eq(left - 1)
    b.assume(~axi.rvalid | (left != 0), "beats_are_of_a_burst")
    b.assume(~axi.rvalid | (axi.rlast == (left == 1)), "the_last_beat_is_marked")
    ends = axi.rvalid & axi.rlast
    b.always(~axi.arvalid | (left == 0), "one_burst_at_a_time")
    b.always(~commands.taken | (left == 0), "no_command_before_the_answer")
    b.always(~(axi.awvalid | axi.wvalid), "writes_nothing")
    # Whether its bytes come: if all went well, and somebody waits for them until its end.
    bad, dropped = b.register(1, "bad"), b.register(1, "dropped")
    is_bad = Signal()
    m.d.comb += is_bad.eq(bad | (axi.rvalid & (axi.rresp != RESP_OKAY)))
    with m.If(commands.taken):
        m.d.sync += [bad.eq(0), dropped.eq(0)]
    with m.Else():
        m.d.sync += [bad.eq(is_bad), dropped.eq(dropped | dut.abandon)]
    gives = ends & ~is_bad & ~dropped & ~dut.abandon
    b.always(dut.done == b.past(ends, "ends"), "done_tells_the_end")
    b.always(~dut.done | (dut.error == b.past(is_bad, "was_bad")), "error_tells_what_it_was")
    promised, given = b.register(4, "promised"), b.register(4, "given")
    moves = dut.o_byte.valid & dut.o_byte.ready
    m.d.sync += [promised.eq(promised + Mux(gives, now.count, 0)), given.eq(given + moves)]
    owed = (promised - given)[:4]
    b.always(~dut.o_byte.valid | (owed != 0), "makes_nothing_up")
    b.always(~axi.arvalid | (owed <= 2), "loses_nothing")
    # Of one byte, any one: it comes in its turn.
    beat = b.register(1, "beat")
    place = b.constant(2, "place")  # in the burst
    byte, mark, number = b.register(8, "byte"), b.register(8, "mark"), b.register(4, "number")
    marked = b.register(1, "marked")
    value = Signal(8)
    arrives = axi.rvalid & (beat == place >> 1)
    m.d.comb += value.eq(Mux(arrives, axi.rdata.word_select(place[0], 8), byte))
    m.d.sync += [byte.eq(value), beat.eq(Mux(ends, 0, beat + axi.rvalid))]
    within = (place >= commands.first) & (place <= commands.last)
    with m.If(gives & within & ~marked & b.free(1, "chosen")):
        m.d.sync += [marked.eq(1), mark.eq(value), number.eq(promised + place - commands.first)]
    here = marked & moves & (given == number)
    b.always(~here | (dut.o_byte.payload == mark), "gives_what_it_read")
    b.cover(here & (mark != 0) & (given == 3), "a_later_byte")
    b.cover(here & (number != place - commands.first) & (place == 3), "of_a_second_command")
    b.cover(asks & dropped & (promised == 0), "an_abandoned_one")
    b.cover(dut.done & dut.error & (beat == 0) & (now.count > 2), "a_failure")
    return b


PROPERTIES = [
    Property(
        name="bridge.stable",
        says="what the bridge offers on AR, AW and W stays as it is until it is taken; R and B are "
        "always taken",
        bench=stable,
        depth=2,
        cover=14,
        bugs=(
            Bug(what="data are offered while no answer comes only", file=_FILE,
                old="m.d.comb += axi.wvalid.eq(1)", new="m.d.comb += axi.wvalid.eq(~axi.bvalid)"),
            Bug(what="the next beat is shown before this one is taken", file=_FILE,
                old="read.addr.eq(beat),", new="read.addr.eq(beat + axi.rvalid),"),
        ),
    ),
    Property(
        name="bridge.registers",
        says="AXI4-Lite: what the bridge offers on AR, AW and W stays as it is until it is taken, "
        "and a command is over when it was answered",
        bench=registers,
        depth=3,
        cover=10,
        bugs=(
            Bug(what="data are withdrawn when their address is taken",
                file="hw/board/bridge_registers.py",
                old="with m.If(getattr(axil, ready)):", new="with m.If(axil.awready):"),
        ),
    ),
    Property(
        name="bridge.bursts",
        says="a command of the bridge is one burst, aligned, INCR, in whole beats, of those that "
        "hold its bytes, and inside a page of 4 KiB",
        bench=bursts,
        depth=18,
        induction=False,
        cover=24,
        bugs=(
            Bug(what="a burst begins where its first byte is", file=_FILE,
                old=".eq((command.addr >> shift) << shift)", new=".eq(command.addr)"),
            Bug(what="the first lane is not counted", file=_FILE,
                old="first_lane + command.count - 1", new="command.count - 1"),
        ),
    ),
    Property(
        name="bridge.write",
        says="what the bridge writes are the bytes that it was given, where its command says; data "
        "come after their address, WLAST where AWLEN says, one burst before the next",
        bench=write,
        depth=15,
        induction=False,
        cover=20,
        bugs=(
            Bug(what="data need no address", file=_FILE,
                old="with m.If(axi.awready):", new="with m.If(1):"),
            Bug(what="the last beat is one early", file=_FILE,
                old="axi.wlast.eq(beat == last_beat)", new="axi.wlast.eq(beat + 1 == last_beat)"),
            Bug(what="the first beat is written whole", file=_FILE,
                old="((beat != 0) | (lane >= first_lane))", new="1"),
            Bug(what="it waits for no answer", file=_FILE,
                old='m.next = "RESPONSE"', new='m.next = "IDLE"'),
        ),
    ),
    Property(
        name="bridge.read",
        says="the bytes that the bridge gives are those that its command asked for, in order, if "
        "the burst went well and was not abandoned; one burst at a time",
        bench=read,
        depth=15,
        induction=False,
        cover=20,
        bugs=(
            Bug(what="what was abandoned is given", file=_FILE,
                old="with m.If(bad | abandoned | self.abandon):", new="with m.If(bad):"),
            Bug(what="only the last answer counts", file=_FILE,
                old="bad = failed | (axi.rresp != RESP_OKAY)", new="bad = axi.rresp != RESP_OKAY"),
            Bug(what="a beat ends one byte early", file=_FILE,
                old="Mux(index[:shift].all(), beat + 1, beat)",
                new="Mux(~index[:shift].any(), beat + 1, beat)"),
        ),
    ),
]  # fmt: skip
