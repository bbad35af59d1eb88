"""The residual stream of all rows, held on chip."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .lib.arithmetic import magnitude, or_tree, saturate
from .lib.collision import UNDEFINED
from .lib.parameter import check_lanes, check_multiple, check_power_of_two
from .lib.pipeline import Pipeline
from .lib.slice import Slice
from .spec.formats import BLOCK_LEN, RESIDUAL_WIDTH

__all__ = ["Residual", "residual_write_layout"]


def residual_write_layout(*, lanes, max_dim, max_rows):
    """Return the layout of a beat that is written into the residual."""
    return data.StructLayout({
        "data": data.ArrayLayout(signed(RESIDUAL_WIDTH), lanes),
        "row": range(max_rows),
        "beat": range(max_dim // lanes),
        "add": unsigned(1),
        "first": unsigned(1),
    })


class Residual(wiring.Component):
    """Memory of the residual stream, which adds what is written to what is there.

    The sum is cut off symmetrically, numerics 3.2 step 10. For every row the memory keeps the ORM
    of all values stored since the last beat that was ``first``.

    Parameters
    ----------
    lanes : int
        Elements of a beat.
    max_dim : int
        Elements of a row. A multiple of 32.
    max_rows : int
        Rows. A power of two.

    Members
    -------
    i_write : In(stream of residual_write_layout)
        Beats. ``add``: 1 adds ``data``, 0 stores it. ``first``: the row's ORM starts anew with
        this beat, which is to be the first of the row in its operator.
    read_en, read_row, read_beat : In
        Read one beat.
    read_data : Out(ArrayLayout(signed(32), lanes))
        The beat that was read in the last cycle, without what is still inside while ``busy``;
        anything for one that was stored in that cycle.
    orm_row : In(range(max_rows))
        Row whose ORM is wanted.
    orm : Out(31)
        ORM of the row that ``orm_row`` named in the last cycle.
    trace_valid, trace_row, trace_beat, trace_data : Out
        Each beat as it is stored.
    busy : Out(1)
        Beats are inside that memory or ORM do not show yet.

    Timing
    ------
    Takes one beat a cycle. A beat waits, up to four cycles, before it is added to an address that
    is being written, and while ``read_en`` is high, as both read through one port. It is stored,
    and traced, :attr:`LATENCY` cycles after its transfer if it does not wait. ``i_write.ready``
    comes from a register.

    Raises
    ------
    TypeError, ValueError
        For a parameter that is not as above.
    """

    #: Cycles from a transfer on ``i_write`` to that in which the beat is traced.
    LATENCY = Slice.LATENCY + 5

    def __init__(self, *, lanes, max_dim, max_rows):
        check_lanes(lanes)
        check_multiple("max_dim", max_dim, BLOCK_LEN)
        check_power_of_two("max_rows", max_rows, least=2)
        self.lanes = lanes
        self.max_dim = max_dim
        self.max_rows = max_rows
        word = data.ArrayLayout(signed(RESIDUAL_WIDTH), lanes)
        row = range(max_rows)
        beat = range(max_dim // lanes)
        super().__init__({
            "i_write": In(
                stream.Signature(
                    residual_write_layout(lanes=lanes, max_dim=max_dim, max_rows=max_rows)
                )
            ),
            "read_en": In(1),
            "read_row": In(row),
            "read_beat": In(beat),
            "read_data": Out(word),
            "orm_row": In(row),
            "orm": Out(RESIDUAL_WIDTH - 1),
            "trace_valid": Out(1),
            "trace_row": Out(row),
            "trace_beat": Out(beat),
            "trace_data": Out(word),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        word = data.ArrayLayout(signed(RESIDUAL_WIDTH), self.lanes)
        depth = self.max_rows * (self.max_dim // self.lanes)
        m.submodules.words = words = memory.Memory(
            shape=word, depth=depth, init=[], attrs=UNDEFINED
        )
        m.submodules.orms = orms = memory.Memory(
            shape=unsigned(RESIDUAL_WIDTH - 1), depth=self.max_rows, init=[]
        )
        write, read = words.write_port(), words.read_port()
        orm_write = orms.write_port()
        # The ORM of one beat is there when the next beat of the same row reads it.
        orm_read = orms.read_port(transparent_for=[orm_write])
        orm_out = orms.read_port(transparent_for=[orm_write])
        pipe = Pipeline(m)
        m.submodules.arriving = arriving = Slice(self.i_write.payload.shape())
        connect(m, flipped(self.i_write), arriving.i)

        # Wait here, with a bit that says whether the same address is on its way: it is found out a
        # cycle before, among those that are on their way then.
        incoming = Signal(self.i_write.payload.shape(), reset_less=True)
        waits = Signal()
        pending = Signal()
        take = Signal()
        addr = Cat(incoming.row, incoming.beat)
        m.d.comb += arriving.o.ready.eq(take | ~waits)
        with m.If(arriving.o.ready):
            m.d.sync += [incoming.eq(arriving.o.payload), waits.eq(arriving.o.valid)]

        # Take: read what is to be added to, unless it is on its way or the port is taken.
        wanted = waits & incoming.add & ~pending
        m.d.comb += [
            take.eq(waits & ~(incoming.add & (pending | self.read_en))),
            read.en.eq(self.read_en | wanted),
            read.addr.eq(Mux(self.read_en, Cat(self.read_row, self.read_beat), addr)),
            self.read_data.eq(read.data),
        ]
        read_valid = pipe.valid(take, "read_valid")
        addrs = [pipe.hold(addr, "read_addr")]

        # What was read, in a register.
        add_valid = pipe.valid(read_valid, "add_valid")
        add_data = pipe.hold(incoming.data, "add_data", stages=2)
        add = pipe.hold(incoming.add, "add", stages=2)
        old = pipe.hold(read.data, "old")
        addrs.append(pipe.hold(addrs[-1], "add_addr"))
        firsts = [pipe.hold(incoming.first, "add_first", stages=2)]

        # Add.
        sums = pipe.holds(
            (a + Mux(add, b, 0) for a, b in zip(add_data, old, strict=True)),
            "sum",
            signed(RESIDUAL_WIDTH + 1),
        )
        sum_valid = pipe.valid(add_valid, "sum_valid")
        added = pipe.hold(add, "sum_add")
        addrs.append(pipe.hold(addrs[-1], "sum_addr"))
        firsts.append(pipe.hold(firsts[-1], "sum_first"))

        # Saturate, but for a value that was not added to.
        stored = [
            pipe.hold(
                Mux(added, saturate(x, RESIDUAL_WIDTH), x),
                f"stored_{i}",
                signed(RESIDUAL_WIDTH),
            )
            for i, x in enumerate(sums)
        ]
        stored_valid = pipe.valid(sum_valid, "stored_valid")
        addrs.append(pipe.hold(addrs[-1], "stored_addr"))
        firsts.append(pipe.hold(firsts[-1], "stored_first"))

        # Store.
        row_width = len(self.orm_row)
        m.d.comb += [
            write.en.eq(stored_valid),
            write.addr.eq(addrs[-1]),
            write.data.eq(Cat(stored)),
            self.trace_valid.eq(stored_valid),
            self.trace_row.eq(addrs[-1][:row_width]),
            self.trace_beat.eq(addrs[-1][row_width:]),
            self.trace_data.eq(Cat(stored)),
            orm_read.addr.eq(self.trace_row),
        ]
        beat_orm = pipe.hold(or_tree(magnitude(x) for x in stored), "beat_orm")
        orm_valid = pipe.valid(stored_valid, "orm_valid")
        orm_row = pipe.hold(self.trace_row, "orm_write_row")
        orm_first = pipe.hold(firsts[-1], "orm_first")

        # Gather the row's ORM.
        m.d.comb += [
            orm_write.en.eq(orm_valid),
            orm_write.addr.eq(orm_row),
            orm_write.data.eq(beat_orm | Mux(orm_first, 0, orm_read.data)),
            orm_out.addr.eq(self.orm_row),
            self.orm.eq(orm_out.data),
            self.busy.eq(
                arriving.o.valid
                | waits
                | read_valid
                | add_valid
                | sum_valid
                | stored_valid
                | orm_valid
            ),
        ]

        def on_its_way(addr):
            """Return whether an address will be inside in the next cycle, but for what is taken."""
            inside = zip((read_valid, add_valid, sum_valid), addrs[:-1], strict=True)
            return Cat(valid & (other == addr) for valid, other in inside).any()

        following = Cat(arriving.o.p.row, arriving.o.p.beat)
        with m.If(arriving.o.ready):
            m.d.sync += pending.eq(on_its_way(following) | (take & (addr == following)))
        with m.Else():
            m.d.sync += pending.eq(on_its_way(addr))
        return m
