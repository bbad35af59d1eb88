"""A memory with byte lanes and both kinds of read port, and the same with parity."""

from amaranth.hdl import Module, unsigned
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from hw.lib.parity_inserter import insert_parity

__all__ = ["ProtectedStore", "Store", "store_ports"]


def store_ports(shape, lanes, depth):
    """Return the ports to write lanes of a word, and to ask for one."""
    return {
        "write_en": In(lanes),
        "write_addr": In(range(depth)),
        "write": In(shape),
        "read_en": In(1),
        "read_addr": In(range(depth)),
    }


class Store(wiring.Component):
    """Words of ``lanes`` lanes of ``lane_width`` bits, with a table beside them."""

    def __init__(self, *, lane_width, lanes, depth, table=(5, 6, 7)):
        self.shape = data.ArrayLayout(unsigned(lane_width), lanes)
        self.depth = depth
        self.table = list(table)
        super().__init__({
            **store_ports(self.shape, lanes, depth),
            "read": Out(self.shape),
            "look_addr": In(range(depth)),
            "look": Out(self.shape),
            "table_addr": In(range(len(self.table))),
            "entry": Out(8),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.words = words = memory.Memory(shape=self.shape, depth=self.depth, init=[])
        m.submodules.table = table = memory.Memory(shape=8, depth=len(self.table), init=self.table)
        write = words.write_port(granularity=1)
        read = words.read_port(transparent_for=[write])
        look, entry = words.read_port(domain="comb"), table.read_port()
        m.d.comb += [
            write.en.eq(self.write_en),
            write.addr.eq(self.write_addr),
            write.data.eq(self.write),
            read.en.eq(self.read_en),
            read.addr.eq(self.read_addr),
            self.read.eq(read.data),
            look.addr.eq(self.look_addr),
            self.look.eq(look.data),
            entry.addr.eq(self.table_addr),
            self.entry.eq(entry.data),
        ]
        return m


class ProtectedStore(wiring.Component):
    """A `Store` with parity: its ports, a sweep, and a bit of ``error`` for each memory."""

    def __init__(self, **sizes):
        self.store = Store(**sizes)
        members = dict(self.store.signature.members)
        super().__init__({
            **members,
            "sweep": In(1),
            "sweep_row": In(range(64)),
            "error": Out(2),
        })

    def elaborate(self, platform):
        m = Module()
        fragment, found = insert_parity(
            self.store, platform, sweep=self.sweep, sweep_row=self.sweep_row
        )
        m.submodules.store = fragment
        for name, member in self.store.signature.members.items():
            ours, theirs = getattr(self, name), getattr(self.store, name)
            m.d.comb += ours.eq(theirs) if member.flow is Out else theirs.eq(ours)
        assert [one.path for one in found] == ["words", "table"]
        m.d.comb += [self.error[n].eq(one.memory.error) for n, one in enumerate(found)]
        return m
