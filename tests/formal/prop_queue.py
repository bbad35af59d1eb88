"""Queues: what goes in comes out in order, whatever happens on either side."""

from amaranth.hdl import Mux, Signal

from hw.lib.credit_queue import CreditQueue
from hw.lib.fork import Fork
from hw.lib.gearbox import Gearbox
from hw.lib.queue import Queue
from hw.lib.slice import Slice
from scripts.verify.formal_bench import Bench
from scripts.verify.formal_order import Order
from scripts.verify.formal_property import Bug, Property

_DEPTH = 4
_FILE = "hw/lib/queue.py"


class SpiedCredit(CreditQueue):
    """A credit queue that tells when something comes and its queue has no room."""

    def __init__(self, shape, *, latency):
        super().__init__(shape, latency=latency)
        self.lost = Signal()

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.lost.eq(self.i_valid & ~m.submodules.queue.i.ready)
        return m


class InBlockRam(Queue):
    """A queue that lies in block RAM, shallow as it is."""

    MAX_LUT_DEPTH = 2


def _through(b, dut, most, name="order"):
    return Order(
        b,
        taken=dut.i.valid & dut.i.ready,
        item=dut.i.payload,
        given=dut.o.valid & dut.o.ready,
        result=dut.o.payload,
        most=most,
        name=name,
    )


def lut_queue(depth):
    b = Bench()
    dut = Queue(4, depth)
    b.drive(dut, fix={"flush": 0})
    order = _through(b, dut, depth)
    b.always(dut.level == order.inside, "level_counts")
    b.always(dut.o.valid == (order.inside != 0), "offers_at_once")
    b.always(dut.i.ready == (order.inside != depth), "takes_until_full")
    return b


def ram_queue():
    b = Bench()
    dut = b.drive(InBlockRam(4, _DEPTH), fix={"flush": 0})
    order = _through(b, dut, _DEPTH)
    b.always(dut.level == order.inside, "level_counts")
    stayed = b.past(order.inside - (dut.o.valid & dut.o.ready), "stayed")
    b.always((stayed == 0) | dut.o.valid, "offers_after_two_cycles")
    b.always(dut.i.ready == (order.inside != _DEPTH), "takes_until_full")
    return b


def flushed(make):
    """After a flush the queue is as after reset."""
    b = Bench()
    dut = b.drive(make())
    past = b.past(dut.flush, "flush")
    b.always(~past | ~dut.o.valid, "flush_withdraws")
    b.always(~past | dut.i.ready, "flush_makes_room")
    full = b.past(~dut.i.ready, "full")
    b.cover(past & full & dut.i.ready, "flushed_when_full")
    return b


def slice_order():
    b = Bench()
    dut = b.drive(Slice(4), fix={"flush": 0})
    order = _through(b, dut, 2)
    b.always(dut.o.valid == (order.inside != 0), "offers_at_once")
    b.always(dut.i.ready == (order.inside != 2), "takes_two")
    return b


def credit_order():
    """Behind a pipeline of two stages, which takes whenever there is credit."""
    b = Bench()
    m = b.m
    dut = SpiedCredit(2, latency=2)
    dut.depth = 8  # as small as it may be behind two stages
    b.drive(dut, leave=("enters", "i_valid", "i"))
    wants, item = b.free(1, "wants"), b.free(2, "item")
    enters = wants & dut.ready
    m.d.comb += [
        dut.enters.eq(enters),
        dut.i_valid.eq(b.past(enters, "valid", 2)),
        dut.i.eq(b.past(item, "item_on_its_way", 2)),
    ]
    inside = b.register(range(2 * dut.depth), "inside")
    m.d.sync += inside.eq(inside + enters - (dut.o.valid & dut.o.ready))
    b.always(~dut.lost, "finds_room")
    b.always(inside <= dut.depth, "holds_its_depth")
    b.always(dut.empty == (inside == 0), "empty_is_empty")
    b.cover((inside == dut.depth) & ~dut.ready & (dut.o.valid & dut.o.ready), "full")
    return b


def fork_order():
    b = Bench()
    dut = b.drive(Fork(3, 2))
    m = b.m
    for index, out in enumerate(dut.o):
        has = b.register(1, f"has_{index}")  # the payload that the fork has on offer
        gets = out.valid & out.ready
        with m.If(dut.i.valid & dut.i.ready):
            m.d.sync += has.eq(0)
        with m.Elif(gets):
            m.d.sync += has.eq(1)
        b.always(~gets | ~has, f"{index}_gets_it_once")
        b.always(~(dut.i.valid & dut.i.ready) | has | gets, f"{index}_gets_it")
        b.always(~out.valid | (out.payload == dut.i.payload), f"{index}_gets_what_came")
        b.always(has == (dut.i.valid & ~out.valid), f"{index}_is_offered_it_while_it_has_it_not")
        b.cover(has & dut.i.valid & dut.i.ready, f"{index}_was_first")
    return b


def gearbox_order(i_bytes, o_bytes):
    """Of each narrow word: bytes come out in the order in which they went in."""
    b = Bench()
    m = b.m
    dut = b.drive(Gearbox(i_bytes=i_bytes, o_bytes=o_bytes), fix={"flush": 0})
    ratio = max(i_bytes, o_bytes)
    took, gave = dut.i.valid & dut.i.ready, dut.o.valid & dut.o.ready
    place_in = b.register(8, "place_in")
    place_out = b.register(8, "place_out")
    marked = b.register(1, "marked")
    mark = b.register(8, "mark")
    at = b.register(8, "at")
    chosen, lane = b.free(1, "chosen"), b.free(range(i_bytes), "lane")
    m.d.sync += [
        place_in.eq(place_in + Mux(took, i_bytes, 0)),
        place_out.eq(place_out + Mux(gave, o_bytes, 0)),
    ]
    with m.If(took & chosen & ~marked):
        m.d.sync += [marked.eq(1), mark.eq(dut.i.payload[lane]), at.eq(place_in + lane)]
    offset = (at - place_out)[:8]
    here = marked & gave & (offset < o_bytes)
    b.always(~here | (dut.o.payload[offset[: max(1, (o_bytes - 1).bit_length())]] == mark), "holds")
    b.always(~gave | ((place_in - place_out)[:8] >= o_bytes), "makes_nothing_up")
    b.always((place_in - place_out)[:8] <= ratio, "loses_nothing")
    b.cover(here & (mark != 0), "passes_on")
    b.cover(here & (place_out >= ratio), "passes_on_the_second_word")
    return b


PROPERTIES = [
    Property(
        name="queue.order",
        says="a queue in LUT memory gives out what it took, in order, and counts it",
        bench=lambda: lut_queue(_DEPTH),
        depth=14,
        induction=False,
        cover=14,
        bugs=(
            Bug(what="it takes when it is full", file=_FILE,
                old="self.level != self.depth", new="1"),
            Bug(what="its end wraps one place late", file=_FILE,
                old="Mux(index == self.depth - 1, 0, index + 1)",
                new="Mux(index == self.depth - 2, 0, index + 1)"),
        ),
        quick=True,
    ),
    Property(
        name="queue.order_odd_depth",
        says="so does one whose depth is no power of two",
        bench=lambda: lut_queue(3),
        depth=14,
        induction=False,
        cover=14,
        bugs=(
            Bug(what="its indices count on past the end", file=_FILE,
                old="Mux(index == self.depth - 1, 0, index + 1)", new="index + 1"),
        ),
    ),
    Property(
        name="queue.order_block_ram",
        says="so does one in block RAM, which offers two cycles after an arrival at the latest",
        bench=ram_queue,
        depth=14,
        induction=False,
        cover=14,
        bugs=(
            Bug(what="the next payload overwrites the one on offer", file=_FILE,
                old="(~offered | self.o.ready)", new="1"),
        ),
    ),
    Property(
        name="queue.flush",
        says="in the cycle after a flush a queue is empty",
        bench=lambda: flushed(lambda: Queue(4, _DEPTH)),
        depth=2,
        cover=10,
        bugs=(
            Bug(what="an arrival survives the flush", file=_FILE,
                old="m.d.sync += [self.level.eq(0), write_index", new="m.d.sync += [write_index"),
        ),
    ),
    Property(
        name="slice.order",
        says="a slice gives out what it took, in order, and holds two",
        bench=slice_order,
        depth=14,
        induction=False,
        cover=10,
        bugs=(
            Bug(what="the spare payload is overwritten", file="hw/lib/slice.py",
                old="self.i.ready.eq(~spare_full)", new="self.i.ready.eq(1)"),
            Bug(what="the spare payload is forgotten", file="hw/lib/slice.py",
                old="with m.Elif(spare_full):", new="with m.Elif(0):"),
        ),
        quick=True,
    ),
    Property(
        name="slice.flush",
        says="in the cycle after a flush a slice is empty",
        bench=lambda: flushed(lambda: Slice(4)),
        depth=2,
        cover=10,
        bugs=(
            Bug(what="the spare payload survives the flush", file="hw/lib/slice.py",
                old="[front_full.eq(0), spare_full.eq(0)]", new="[front_full.eq(0)]"),
        ),
    ),
    Property(
        name="credit_queue.order",
        says="behind a pipeline that cannot stop nothing is lost while it is fed with credit",
        bench=credit_order,
        depth=20,
        induction=False,
        cover=18,
        bugs=(
            Bug(what="ready without credit", file="hw/lib/credit_queue.py",
                old="self.ready.eq(some)", new="self.ready.eq(1)"),
            Bug(what="credit is not taken when some comes back", file="hw/lib/credit_queue.py",
                old="free + leaves - self.enters", new="free + leaves - (self.enters & ~leaves)"),
        ),
    ),
    Property(
        name="fork.order",
        says="each side of a fork gets every payload once, in order",
        bench=fork_order,
        depth=14,
        induction=False,
        cover=10,
        bugs=(
            Bug(what="a side takes a payload twice", file="hw/lib/fork.py",
                old="self.i.valid & ~taken[number]", new="self.i.valid"),
        ),
    ),
    *(
        Property(
            name=f"gearbox.{name}",
            says=f"bytes keep their order when words of {i_bytes} bytes become words of {o_bytes}",
            bench=lambda i_bytes=i_bytes, o_bytes=o_bytes: gearbox_order(i_bytes, o_bytes),
            depth=14,
            induction=False,
            cover=14,
            bugs=(bug,),
        )
        for name, i_bytes, o_bytes, bug in (
            ("join", 1, 4, Bug(what="a word that arrives as one leaves is not counted",
                file="hw/lib/gearbox.py", old="left.eq(self.ratio - arriving)",
                new="left.eq(self.ratio)")),
            ("cut", 4, 1, Bug(what="a word is taken while two parts are left",
                file="hw/lib/gearbox.py", old="(left == 1) & self.o.ready",
                new="(left == 2) & self.o.ready")),
        )
    ),
]  # fmt: skip
