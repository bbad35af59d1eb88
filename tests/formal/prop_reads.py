"""Two clients read through one port: each asks for its own, gets its own, and has its turn."""

from amaranth.hdl import Mux

from hw.memory_controller import REGIONS, MemoryController
from scripts.verify.formal_bench import Bench
from scripts.verify.formal_order import Order
from scripts.verify.formal_property import Bug, Property

_FILE = "hw/memory_controller.py"

#: Client to the ID of its reads.
_CLIENTS = {"stream": 0, "fetch": 1}

_ADDRESS = 6

#: Bursts that may be ahead of one: those on their way to the port, and the one whose turn it is.
_AHEAD = {"stream": 4, "fetch": 4}


def _reader(b, *, depth, max_burst=2):
    """Return a controller that nobody writes through, and whose clients may read everywhere."""
    dut = MemoryController(
        port_bytes=1,
        stream_depth=depth,
        fetch_depth=depth,
        max_burst=max_burst,
        addr_width=_ADDRESS,
    )
    everything = {"base": 0, "limit": 1 << _ADDRESS}
    regions = REGIONS.const({name: everything for name, _ in REGIONS}).as_bits()
    fix = {"halt": 0, "regions": regions, "i_write.valid": 0, "i_wdata.valid": 0, "axi.bvalid": 0}
    b.drive(dut, fix=fix, hold=("bus_offset",))
    for name in _CLIENTS:
        command = getattr(dut, f"i_{name}")
        end = command.p.addr + command.p.beats
        b.assume(~command.valid | (end <= 1 << _ADDRESS), f"{name}_commands_are_legal")
    return dut


def _asks(dut, name):
    """Return that a burst of a client is taken."""
    return dut.axi.arvalid & dut.axi.arready & (dut.axi.arid == _CLIENTS[name])


def addresses():
    """Of one command of each client, any one: its bursts are all of it, in order."""
    b = Bench()
    m = b.m
    dut = _reader(b, depth=8)
    axi = dut.axi
    b.assume(axi.rvalid == 0, "no_answers_yet")
    b.always(~axi.arvalid | (axi.arid <= 1), "a_burst_is_of_a_client")
    beats = axi.arlen + 1
    for name, number in _CLIENTS.items():
        command = getattr(dut, f"i_{name}")
        takes = command.valid & command.ready
        given, asked = b.register(6, f"{name}_given"), b.register(6, f"{name}_asked")
        start, marked = b.register(6, f"{name}_start"), b.register(1, f"{name}_marked")
        mark = b.register(command.payload.shape(), f"{name}_mark", init=None)
        m.d.sync += [
            given.eq(given + Mux(takes, command.p.beats, 0)),
            asked.eq(asked + Mux(_asks(dut, name), beats, 0)),
        ]
        few = command.p.beats <= 4
        b.assume(~takes | (few & (given <= 40)), f"{name}_does_not_count_over")
        with m.If(takes & ~marked & b.free(1, f"{name}_chosen")):
            m.d.sync += [marked.eq(1), mark.eq(command.p), start.eq(given)]
        valid = axi.arvalid & (axi.arid == number)
        b.always(~valid | (asked + beats <= given), f"{name}_asks_for_what_it_was_told")
        place = asked - start
        here = valid & marked & (asked >= start) & (place < mark.beats)
        addr = (mark.addr + place + dut.bus_offset)[:_ADDRESS]
        b.always(~here | (axi.araddr == addr), f"{name}_goes_on_where_it_was")
        b.always(~here | (place + beats <= mark.beats), f"{name}_ends_with_its_command")
        b.cover(here & (place != 0) & (start != 0) & axi.arready, f"a_second_burst_of_{name}")
    return b


def beats():
    """Beats of both in any order: each client gets what came for it."""
    b = Bench()
    m = b.m
    dut = _reader(b, depth=4)
    axi = dut.axi
    b.assume(axi.rid <= 1, "answers_are_of_a_client")
    b.assume(axi.rlast, "bursts_have_one_beat")
    for name, number in _CLIENTS.items():
        out = getattr(dut, f"o_{name}")
        comes = axi.rvalid & (axi.rid == number)
        owed = b.register(4, f"{name}_owed")
        m.d.sync += owed.eq(owed + _asks(dut, name) - comes)
        b.assume(~comes | (owed != 0), f"{name}_beats_are_of_bursts")
        order = Order(
            b,
            taken=comes,
            item=axi.rdata[:2],
            given=out.valid & out.ready,
            result=out.p[0][:2],
            most=4,
            name=name,
        )
        b.always(owed + order.inside <= 4, f"{name}_asks_for_no_more_than_fits")
        arrives = b.register(1, f"{name}_arrives")  # a cycle before it is there
        m.d.sync += arrives.eq(comes)
        b.always(out.valid == (order.inside != arrives), f"{name}_is_given_what_is_there")
    return b


def turns():
    """A client that has a burst to ask for, and room: how many of the other go before it."""
    b = Bench()
    m = b.m
    dut = _reader(b, depth=4)
    axi = dut.axi
    b.assume(axi.rlast & (axi.rid <= 1), "bursts_have_one_beat")
    for name, other in (("stream", "fetch"), ("fetch", "stream")):
        command, out = getattr(dut, f"i_{name}"), getattr(dut, f"o_{name}")
        takes = command.valid & command.ready
        comes = axi.rvalid & (axi.rid == _CLIENTS[name])
        owed, wanted = b.register(4, f"{name}_owed"), b.register(6, f"{name}_wanted")
        inside = b.register(4, f"{name}_inside")
        m.d.sync += [
            owed.eq(owed + _asks(dut, name) - comes),
            inside.eq(inside + _asks(dut, name) - (out.valid & out.ready)),
            wanted.eq(wanted + Mux(takes, command.p.beats, 0) - _asks(dut, name)),
        ]
        b.assume(~comes | (owed != 0), f"{name}_beats_are_of_bursts")
        few = (command.p.beats <= 8) & (wanted <= 32)
        b.assume(~takes | few, f"{name}_does_not_count_over")
        waits = (wanted != 0) & (inside < 4)
        before = b.register(4, f"before_{name}")
        with m.If(~waits | _asks(dut, name)):
            m.d.sync += before.eq(0)
        with m.Else():
            m.d.sync += before.eq(before + _asks(dut, other))
        b.always(before <= _AHEAD[name], f"{name}_has_its_turn")
        b.cover((before == _AHEAD[name]) & _asks(dut, name), f"{name}_waited_longest")
    return b


PROPERTIES = [
    Property(
        name="reads.addresses",
        says="each client's bursts on AR are what its commands say, all of it, in order, under its "
        "ID; nothing is asked for that nobody wants",
        bench=addresses,
        depth=12,
        induction=False,
        cover=13,
        bugs=(
            Bug(what="a fetch goes under the ID of streams", file=_FILE,
                old="ask.i.p.fetch.eq(fetches.o_burst.valid)",
                new="ask.i.p.fetch.eq(fetches.o_burst.valid & ~streams.o_burst.valid)"),
            Bug(what="a stream counts as asked while a fetch is", file=_FILE,
                old="ask.i.ready & ~fetches.o_burst.valid", new="ask.i.ready"),
        ),
    ),
    Property(
        name="reads.beats",
        says="beats of both clients, in any order: each gets those of its ID, in order, none lost "
        "or made up",
        bench=beats,
        depth=13,
        induction=False,
        cover=22,
        bugs=(
            Bug(what="a beat of a fetch is one of a stream too", file=_FILE,
                old="of_stream.eq(axi.rvalid & (axi.rid == _STREAM_ID))",
                new="of_stream.eq(axi.rvalid)"),
        ),
    ),
    Property(
        name="reads.turns",
        says=f"while a client has a burst to ask for and room for it, {_AHEAD['stream']} bursts of "
        "the other go before it at most",
        bench=turns,
        depth=16,
        induction=False,
        cover=15,
        bugs=(
            Bug(what="a client with many bursts never pauses", file="hw/memory_reader.py",
                old="goes.eq(burst.valid & fits & ~sent.i.valid)",
                new="goes.eq(burst.valid & fits)"),
        ),
    ),
]  # fmt: skip
