"""One memory for two: the chip and the debug bridge."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out, connect

from hw.lib.axi import Axi4
from hw.lib.parameter import check_positive, check_power_of_two
from hw.lib.queue import Queue
from hw.lib.slice import Slice

__all__ = ["MemoryShare"]

_MANAGERS = ("chip", "bridge")
_ADDRESS = ("addr", "len", "size", "burst", "lock", "cache", "prot", "qos")


class MemoryShare(wiring.Component):
    """Pass the bursts of two managers on to one memory, in turn when both have some.

    Parameters
    ----------
    port_bytes : int
        Width of the ports, in bytes. A power of two.
    id_width : int
        Width of the managers' IDs. The memory's are one bit wider: the highest is 1 for ``bridge``.
    outstanding : int
        Bursts whose data is not yet written, at most. From 2.

    Members
    -------
    chip, bridge : In(Axi4(data_bytes=port_bytes, id_width=id_width))
        The managers. Data of a write is not taken before its address is.
    axi : Out(Axi4(data_bytes=port_bytes, id_width=id_width + 1))
        The memory.

    Timing
    ------
    Beats and responses are on offer one cycle after they were taken, addresses two, and move one
    per cycle. Of a manager that has an address waiting one burst of the other goes first at most.
    There are no combinational paths from port to port.

    Raises
    ------
    TypeError, ValueError
        A parameter is not as above.
    """

    def __init__(self, *, port_bytes, id_width=4, outstanding=8):
        check_power_of_two("port_bytes", port_bytes)
        check_positive("id_width", id_width)
        self.id_width = id_width
        self.outstanding = outstanding
        self._waiting = Queue(1, outstanding)
        super().__init__({
            **{name: In(Axi4(data_bytes=port_bytes, id_width=id_width)) for name in _MANAGERS},
            "axi": Out(Axi4(data_bytes=port_bytes, id_width=id_width + 1)),
        })

    def elaborate(self, platform):
        m = Module()
        self._address(m, "ar")
        self._address(m, "aw")
        self._data(m)
        self._answers(m, "r", ("data", "resp", "last"))
        self._answers(m, "b", ("resp",))
        return m

    def _fields(self, channel, names):
        """Return the layout of a channel towards the memory."""
        return data.StructLayout({n: len(getattr(self.axi, channel + n)) for n in names})

    def _address(self, m, channel):
        """Take addresses in turn."""
        fields = self._fields(channel, ("id", *_ADDRESS))
        m.submodules[channel] = held = Slice(fields)
        own = data.StructLayout(fields.members | {"id": self.id_width})
        # Each manager has a register of its own: they are far from each other.
        asking = []
        for name in _MANAGERS:
            manager = getattr(self, name)
            m.submodules[f"{name}_{channel}"] = asks = Slice(own)
            m.d.comb += [
                asks.i.valid.eq(getattr(manager, f"{channel}valid")),
                getattr(manager, f"{channel}ready").eq(asks.i.ready),
                *(asks.i.p[field].eq(getattr(manager, channel + field)) for field, _ in own),
            ]
            asking.append(asks.o)
        turn = Signal(name=f"{channel}_turn")
        owner = Signal(name=f"{channel}_owner")
        m.d.comb += [
            owner.eq(Mux(asking[0].valid & asking[1].valid, turn, asking[1].valid)),
            held.i.valid.eq(asking[0].valid | asking[1].valid),
        ]
        with m.If(held.i.valid & held.i.ready):
            m.d.sync += turn.eq(~owner)
        for index, asks in enumerate(asking):
            with m.If(owner == index):
                m.d.comb += [
                    asks.ready.eq(held.i.ready),
                    held.i.p.id.eq(Cat(asks.p.id, owner)),
                    *(held.i.p[name].eq(asks.p[name]) for name in _ADDRESS),
                ]

        room = self._waiting.i.ready if channel == "aw" else 1
        m.d.comb += [
            getattr(self.axi, f"{channel}valid").eq(held.o.valid & room),
            held.o.ready.eq(getattr(self.axi, f"{channel}ready") & room),
        ]
        for name in ("id", *_ADDRESS):
            m.d.comb += getattr(self.axi, channel + name).eq(held.o.p[name])

    def _data(self, m):
        """Pass data on in the order of the addresses, never before its address."""
        axi = self.axi
        names = ("data", "strb", "last")
        m.submodules.waiting = waiting = self._waiting
        m.submodules.w = held = Slice(self._fields("w", names))
        # Between the queue's memory and the readiness of both managers.
        m.submodules.writing = writing = Slice(waiting.o.payload.shape())
        connect(m, waiting.o, writing.i)
        owner = writing.o.payload
        m.d.comb += [
            waiting.i.valid.eq(axi.awvalid & axi.awready),
            waiting.i.payload.eq(axi.awid[-1]),
            writing.o.ready.eq(held.i.valid & held.i.ready & held.i.p.last),
            axi.wvalid.eq(held.o.valid),
            held.o.ready.eq(axi.wready),
        ]
        for index, name in enumerate(_MANAGERS):
            manager = getattr(self, name)
            with m.If(writing.o.valid & (owner == index)):
                m.d.comb += [held.i.valid.eq(manager.wvalid), manager.wready.eq(held.i.ready)]
                for field in names:
                    m.d.comb += held.i.p[field].eq(getattr(manager, f"w{field}"))
        for field in names:
            m.d.comb += getattr(axi, f"w{field}").eq(held.o.p[field])

    def _answers(self, m, channel, names):
        """Give what comes back to the manager that the ID names."""
        m.submodules[channel] = held = Slice(self._fields(channel, ("id", *names)))
        m.d.comb += [
            held.i.valid.eq(getattr(self.axi, f"{channel}valid")),
            getattr(self.axi, f"{channel}ready").eq(held.i.ready),
        ]
        for name in ("id", *names):
            m.d.comb += held.i.p[name].eq(getattr(self.axi, channel + name))
        owner = held.o.p.id[-1]
        for index, name in enumerate(_MANAGERS):
            manager = getattr(self, name)
            with m.If(owner == index):
                m.d.comb += [
                    getattr(manager, f"{channel}valid").eq(held.o.valid),
                    held.o.ready.eq(getattr(manager, f"{channel}ready")),
                ]
            m.d.comb += getattr(manager, f"{channel}id").eq(held.o.p.id[: self.id_width])
            for field in names:
                m.d.comb += getattr(manager, channel + field).eq(held.o.p[field])
