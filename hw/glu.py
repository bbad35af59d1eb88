"""Feed-forward: the activation of each gate, with its up, on their way to quantisation."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .activation import Activation
from .jobs import result_label
from .lib.collision import UNDEFINED
from .spec.formats import FFN_WIDTH, HEAD_WIDTH
from .spec.tables import ACTIVATIONS, MAX_TABLE_SHIFT

__all__ = ["Glu"]


class Glu(wiring.Component):
    """Keep a strip of gates until the strip of ups comes, and multiply them.

    Strips of 32 gates and 32 ups alternate, so that the product is quantised as it is made. A
    feed-forward network without ups has strips of gates only, which pass at once. Computes
    ``sim.golden.activation``.

    Parameters
    ----------
    config : ArchConfig

    Members
    -------
    i_act : In(stream of data, meta)
        Results; section 0 is a gate, 1 an up. ``data``: lanes x 18 bits, ``meta``: result_label.
    o_ffn : Out(stream of data, meta)
        Products, lanes x 24 bits, with the label of the up, or of the gate that has none.
    gated : In(1)
        Ups come. Must hold while anything is inside, as the next three.
    activation, table_shift, shift : In
        Of `Activation`.

    Timing
    ------
    Takes a beat a cycle, and offers the product of an up, or of a gate that has none,
    :attr:`LATENCY` cycles later. ``i_act.ready`` depends combinationally on ``o_ffn.ready`` and on
    ``i_act.p.meta``: a gate that is kept never waits.
    """

    #: Cycles from an up on ``i_act``, or a gate that has none, to the offer of its product.
    LATENCY = 1 + Activation.LATENCY

    def __init__(self, config):
        self.config = config
        self.label = result_label(config)
        self.vector = data.ArrayLayout(signed(HEAD_WIDTH), config.lanes)
        super().__init__({
            "i_act": In(
                stream.Signature(data.StructLayout({"data": self.vector, "meta": self.label}))
            ),
            "o_ffn": Out(
                stream.Signature(
                    data.StructLayout({
                        "data": data.ArrayLayout(signed(FFN_WIDTH), config.lanes),
                        "meta": self.label,
                    })
                )
            ),
            "gated": In(1),
            "activation": In(range(len(ACTIVATIONS))),
            "table_shift": In(range(MAX_TABLE_SHIFT + 1)),
            "shift": In(6),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        m.submodules.activation = activation = Activation(lanes=cfg.lanes, meta_shape=self.label)
        m.submodules.gates = gates = memory.Memory(
            shape=self.vector, depth=cfg.max_rows * cfg.beats, init=[], attrs=UNDEFINED
        )
        write, read = gates.write_port(), gates.read_port()
        meta = self.i_act.p.meta
        is_kept = self.gated & (meta.section == 0)
        addr = Cat(meta.index, meta.beat)[: len(write.addr)]

        held = Signal.like(self.i_act.payload)
        offered = Signal()
        advance = Signal()
        m.d.comb += [
            advance.eq(~offered | activation.i_pair.ready),
            self.i_act.ready.eq(advance | is_kept),
            write.en.eq(self.i_act.valid & is_kept),
            write.addr.eq(addr),
            write.data.eq(self.i_act.p.data),
            read.en.eq(advance),
            read.addr.eq(addr),
        ]
        with m.If(advance):
            m.d.sync += [
                held.eq(self.i_act.payload),
                offered.eq(self.i_act.valid & ~is_kept),
            ]
        pair = activation.i_pair
        m.d.comb += [
            pair.valid.eq(offered),
            pair.p.gate.eq(Mux(self.gated, read.data, held.data)),
            pair.p.activation.eq(self.activation),
            pair.p.table_shift.eq(self.table_shift),
            pair.p.shift.eq(self.shift),
            pair.p.meta.eq(held.meta),
            self.o_ffn.valid.eq(activation.o_ffn.valid),
            self.o_ffn.p.data.eq(activation.o_ffn.p.data),
            self.o_ffn.p.meta.eq(activation.o_ffn.p.meta),
            activation.o_ffn.ready.eq(self.o_ffn.ready),
        ]
        for lane in range(cfg.lanes):
            m.d.comb += pair.p.up[lane].eq(Mux(self.gated, held.data[lane], 1))
        return m
