"""The rules of AXI4, on the port of the memory controller."""

from hw.burst_cutter import BurstCutter
from hw.lib.axi import PAGE_BYTES
from hw.memory_controller import MemoryController
from hw.memory_reader import MemoryReader
from hw.memory_writer import MemoryWriter
from scripts.verify.formal_bench import Bench
from scripts.verify.formal_order import Order
from scripts.verify.formal_property import Bug, Property
from tests.formal.axi_rules import Writes, check_burst, check_kind, check_offers_stay

_BYTES = 4
_WRITER, _CUTTER = "hw/memory_writer.py", "hw/burst_cutter.py"
_CONTROLLER = "hw/memory_controller.py"


def _controller(b, *, max_burst=4, **arguments):
    return b.drive(
        MemoryController(port_bytes=_BYTES, stream_depth=16, fetch_depth=16, max_burst=max_burst),
        **arguments,
    )


def stable():
    """While the chip stops (`halt`) and errors come, too."""
    b = Bench()
    axi = _controller(b, hold=("bus_offset",)).axi
    check_offers_stay(b, axi)
    return b


def bursts():
    """Of every address that is asked for: on the bus, behind an offset of whole pages."""
    b = Bench()
    dut = _controller(b, hold=("bus_offset", "regions"), fix={"halt": 0})
    axi = dut.axi
    b.assume((axi.bvalid == 0) & (axi.rvalid == 0), "no_answers_yet")
    b.assume(dut.bus_offset[:12] == 0, "the_offset_is_whole_pages")
    for channel in ("ar", "aw"):
        valid = getattr(axi, f"{channel}valid")
        beats = getattr(axi, f"{channel}len") + 1
        addr = getattr(axi, f"{channel}addr")
        check_burst(b, valid, addr, beats, 4, channel, data_bytes=_BYTES)
        check_kind(b, axi, channel, data_bytes=_BYTES)
        b.cover(valid & (addr[:12] + (beats << 2) == PAGE_BYTES), f"{channel}_ends_at_a_page")
    return b


def regions():
    """Every burst lies inside one of the regions, and in a command that was given."""
    b = Bench()
    dut = BurstCutter(port_bytes=4, beats_width=4, max_burst=4, region_count=2, addr_width=16)
    b.drive(dut, hold=("regions",))
    burst = dut.o_burst
    end = burst.p.addr + (burst.p.beats << 2)
    inside = 0
    for index in range(2):
        region = dut.regions[index]
        b.assume(region.limit <= 1 << 16, f"region_{index}_ends_in_memory")
        inside = inside | ((burst.p.addr >= region.base) & (end <= region.limit))
    b.always(~burst.valid | inside, "is_inside_a_region")
    check_burst(b, burst.valid, burst.p.addr, burst.p.beats, 4, "burst", data_bytes=_BYTES)
    refused = b.register(1, "refused")
    with b.m.If(dut.flush):
        b.m.d.sync += refused.eq(0)
    with b.m.Elif(dut.refused):
        b.m.d.sync += refused.eq(1)
    later = b.past(refused & ~dut.flush, "refused", 2) & refused
    b.always(~(later & burst.valid) | b.past(burst.valid, "offered"), "nothing_after_a_refusal")
    b.cover(dut.refused, "refuses")
    b.cover(burst.valid & (end == dut.regions[1].limit) & (end != 0), "ends_with_a_region")
    first = b.past(burst.valid & burst.ready, "moved")
    b.cover(first & burst.valid & burst.ready & (burst.p.beats == 4), "a_second_burst")
    return b


def write_data():
    """Data follows its address, and its last beat is where the address said; also under halt."""
    b = Bench()
    axi = _controller(b, hold=("bus_offset", "regions")).axi
    b.assume(axi.rvalid == 0, "no_reads")
    b.assume(axi.arready == 0, "no_read_addresses")
    writes = Writes(b, axi)
    b.cover(writes.here & axi.wlast & (writes.length == 1), "a_burst_of_two")
    b.cover(writes.here & axi.wlast & (writes.number == 1), "a_second_burst")
    b.cover((writes.answered == 1) & axi.wvalid, "a_burst_after_an_answer")
    return b


def writer_bound():
    """Bursts that are asked for and not answered, where nothing is ever refused."""
    b = Bench()
    m = b.m
    dut = MemoryWriter(port_bytes=4, beats_width=2, max_burst=1, region_count=1, addr_width=8,
                       max_bursts=2)  # fmt: skip
    b.drive(dut, fix={"drop": 0, "flush": 0}, hold=("regions",))
    open_bursts = b.register(4, "open_bursts")
    ended = b.register(4, "ended")
    asks = dut.o_burst.valid & dut.o_burst.ready
    ends = dut.o_beat.valid & dut.o_beat.ready & dut.o_beat.p.last
    m.d.sync += [
        open_bursts.eq(open_bursts + asks - dut.response),
        ended.eq(ended + ends - dut.response),
    ]
    b.assume(~dut.response | (ended != 0), "answers_are_of_ended_bursts")
    b.always(open_bursts <= 2, "no_more_than_the_bound")
    b.always(dut.outstanding | (open_bursts == 0), "tells_what_is_outstanding")
    b.always(dut.pending | (open_bursts == 0), "tells_what_is_pending")
    b.cover((open_bursts == 2) & dut.i_command.valid & ~dut.i_command.ready, "at_the_bound")
    return b


def reader_room():
    """Every beat that was asked for finds room, however slowly beats are taken."""
    b = Bench()
    m = b.m
    dut = MemoryReader(port_bytes=1, beats_width=2, depth=4, max_burst=1, region_count=1,
                       addr_width=4, max_bursts=4)  # fmt: skip
    b.drive(dut, fix={"drop": 0, "flush": 0, "beat_last": 1}, hold=("regions",))
    owed = b.register(4, "owed")
    asks = dut.o_burst.valid & dut.o_burst.ready
    m.d.sync += owed.eq(owed + asks - dut.beat_valid)
    b.assume(~dut.beat_valid | (owed != 0), "beats_are_of_bursts")
    order = Order(
        b,
        taken=dut.beat_valid,
        item=dut.beat_data[:2],
        given=dut.o_data.valid & dut.o_data.ready,
        result=dut.o_data.p[0][:2],
        most=4,
        name="beats",
    )
    b.always(owed + order.inside <= 4, "asks_for_no_more_than_fits")
    b.always(dut.o_data.valid == (order.inside != 0), "gives_what_is_there")
    b.cover(owed == 4, "all_room_is_promised")
    return b


def _property(name, says, bench, depth, cover, *bugs, induction=False, quick=False):
    return Property(
        name=f"axi.{name}",
        says=says,
        bench=bench,
        depth=depth,
        induction=induction,
        cover=cover,
        bugs=bugs,
        quick=quick,
    )


PROPERTIES = [
    _property(
        "stable",
        "what the controller offers on AR, AW and W stays as it is until it is taken, even while "
        "it is halted; R and B are always taken",
        stable,
        2,
        14,
        Bug(what="an address is offered only to who is ready", file=_CONTROLLER,
            old="axi.arvalid.eq(ask.o.valid)", new="axi.arvalid.eq(ask.o.valid & ~axi.awready)"),
        induction=True,
    ),
    _property(
        "bursts",
        "no burst crosses a multiple of 4 KiB; each is aligned, INCR, in whole beats and no longer "
        "than said",
        bursts,
        11,
        10,
        Bug(what="the first burst is as long as any", file=_CUTTER,
            old="first_room.eq(self.max_burst - (ended.addr >> beat_shift)[:burst_shift])",
            new="first_room.eq(self.max_burst)"),
    ),
    _property(
        "regions",
        "every burst lies in a region; after a refused command nothing is asked for until a flush",
        regions,
        9,
        12,
        Bug(what="the end of a command is not looked at", file=_CUTTER,
            old="& (end <= region.limit)", new="& (end >= region.base)"),
        Bug(what="a refused command does not block those behind it", file=_CUTTER,
            old="m.d.sync += blocked.eq(1)", new="m.d.sync += blocked.eq(0)"),
    ),
    _property(
        "write_data",
        "no beat comes before its burst's address was taken, and WLAST is with the beat that AWLEN "
        "says, even while it is halted",
        write_data,
        13,
        16,
        Bug(what="data goes when its address is announced, not taken", file=_WRITER,
            old="lengths.i.valid.eq(self.o_burst.valid & self.o_burst.ready)",
            new="lengths.i.valid.eq(begins)"),
        Bug(what="a burst's last beat is one late", file=_WRITER,
            old="self.o_burst.p.beats - 1)", new="self.o_burst.p.beats)"),
    ),
    _property(
        "outstanding",
        "no more bursts are written than may be without an answer, and what is open is told",
        writer_bound,
        16,
        16,
        Bug(what="bursts begin whether there is room or not", file=_WRITER,
            old="burst.valid & sent.i.ready & announced", new="burst.valid & announced"),
    ),
    _property(
        "read_room",
        "every beat of a read finds room, none is lost, and they come out in order",
        reader_room,
        16,
        20,
        Bug(what="room is given back for every beat that is offered", file="hw/memory_reader.py",
            old="leaving.eq(beats.o.valid & beats.o.ready)", new="leaving.eq(beats.o.valid)"),
        Bug(what="bursts are asked for whether they fit or not", file="hw/memory_reader.py",
            old="fits.eq(burst.p.beats <= free)", new="fits.eq(1)"),
    ),
]  # fmt: skip
