"""Two managers of one memory: each gets its turn, and what is its own."""

from amaranth.hdl import Cat

from hw.board.memory_share import MemoryShare
from scripts.verify.formal_bench import Bench
from scripts.verify.formal_property import Bug, Property
from tests.formal.axi_rules import ADDRESS, DATA, channel

_FILE = "hw/board/memory_share.py"


def _share(b, **arguments):
    return b.drive(MemoryShare(port_bytes=1, id_width=1, outstanding=2), **arguments)


def stable():
    """Of the memory's port, and of the answers to both managers."""
    b = Bench()
    dut = _share(b)
    for name, names in (("ar", ADDRESS), ("aw", ADDRESS), ("w", DATA)):
        valid, ready, payload = channel(dut.axi, name, names)
        b.always(b.kept(valid, ready, payload, name), f"{name}_is_kept")
        b.cover(b.past(valid & ~ready, f"{name}_late") & valid & ready, f"{name}_taken_late")
    for manager in ("chip", "bridge"):
        port = getattr(dut, manager)
        for name, names in (("r", ("id", "data", "resp", "last")), ("b", ("id", "resp"))):
            valid, ready, payload = channel(port, name, names)
            label = f"{manager}_{name}"
            b.always(b.kept(valid, ready, payload, label), f"{label}_is_kept")
    return b


def turns():
    """Addresses: while one manager waits, the other is served once at most.

    Beside that, one of the other may have been on its way to the memory before.
    """
    b = Bench()
    m = b.m
    dut = _share(b)
    for name in ("ar", "aw"):
        ports = {n: channel(getattr(dut, n), name, ("addr",)) for n in ("chip", "bridge")}
        moves, taken, _ = channel(dut.axi, name, ())
        for number, (manager, other) in enumerate((("chip", "bridge"), ("bridge", "chip"))):
            valid, ready, _ = ports[manager]
            of_other = getattr(dut.axi, f"{name}id")[-1] != number
            served = b.register(3, f"{name}_{other}_served")
            with m.If(valid & ~ready):
                m.d.sync += served.eq(served + (moves & taken & of_other & (served != 7)))
            with m.Else():
                m.d.sync += served.eq(0)
            b.always(served <= 2, f"{name}_of_{manager}_waits_for_one_at_most")
            b.cover((served == 2) & valid & ready, f"{name}_of_{manager}_had_to_wait")
    return b


def isolation():
    """The top bit of what a manager sends, and of what the memory answers, is whose it is."""
    b = Bench()
    m = b.m
    dut = _share(b)
    owners = (("chip", 0), ("bridge", 1))
    for manager, bit in owners:
        port = getattr(dut, manager)
        sent = Cat(port.araddr[-1], port.awaddr[-1], port.wdata[-1])
        b.assume(sent == 7 * bit, f"{manager}_marks_what_it_sends")
    axi = dut.axi
    b.assume(~axi.rvalid | (axi.rdata[-1] == axi.rid[-1]), "the_memory_marks_its_answers")
    for name in ("ar", "aw"):
        valid, _, _ = channel(axi, name, ())
        of = getattr(axi, f"{name}id")[-1]
        b.always(~valid | (getattr(axi, f"{name}addr")[-1] == of), f"{name}_is_of_its_owner")
    for manager, bit in owners:
        port = getattr(dut, manager)
        b.always(~port.rvalid | (port.rdata[-1] == bit), f"{manager}_reads_its_own")
        b.cover(port.rvalid & port.rready, f"{manager}_reads")
    # Of a write, any one: its data are of the manager whose address it was.
    asked, ended = b.register(4, "asked"), b.register(4, "ended")
    number, owner, marked = b.register(4, "number"), b.register(1, "owner"), b.register(1, "marked")
    asks, moves = axi.awvalid & axi.awready, axi.wvalid & axi.wready
    m.d.sync += [asked.eq(asked + asks), ended.eq(ended + (moves & axi.wlast))]
    with m.If(asks & ~marked & b.free(1, "chosen")):
        m.d.sync += [marked.eq(1), number.eq(asked), owner.eq(axi.awid[-1])]
    here = marked & axi.wvalid & (ended == number)
    b.always(~here | (axi.wdata[-1] == owner), "data_are_of_their_address")
    b.always(~axi.wvalid | (asked != ended), "no_data_before_its_address")
    b.cover(here & owner & (number == 1), "a_second_write_of_the_bridge")
    return b


PROPERTIES = [
    Property(
        name="memory_share.stable",
        says="what is offered to the memory, and to the managers, stays until it is taken",
        bench=stable,
        depth=2,
        cover=8,
        bugs=(
            Bug(what="data are offered while there is room only", file=_FILE,
                old="axi.wvalid.eq(held.o.valid)",
                new="axi.wvalid.eq(held.o.valid & waiting.o.valid)"),
        ),
    ),
    Property(
        name="memory_share.turns",
        says="a manager with an address waits for one burst of the other at most, and for one "
        "that was on its way before",
        bench=turns,
        depth=14,
        induction=False,
        cover=14,
        bugs=(
            Bug(what="the bridge always goes first", file=_FILE,
                old="m.d.sync += turn.eq(~owner)", new="m.d.sync += turn.eq(1)"),
        ),
    ),
    Property(
        name="memory_share.isolation",
        says="addresses, data and answers are those of the manager that the ID names, and data "
        "come after their address",
        bench=isolation,
        depth=10,
        induction=False,
        cover=10,
        bugs=(
            Bug(what="data are taken from whoever has some", file=_FILE,
                old="with m.If(writing.o.valid & (owner == index)):",
                new="with m.If(writing.o.valid & (manager.wvalid | (owner == index))):"),
            Bug(what="an answer goes to the other", file=_FILE,
                old="owner = held.o.p.id[-1]", new="owner = ~held.o.p.id[-1]"),
        ),
    ),
]  # fmt: skip
