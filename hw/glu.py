"""Gated feed-forward: pairs each gate with its up, on their way to quantisation."""

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .activation import Activation
from .jobs import result_label
from .spec.formats import FFN_WIDTH, HEAD_WIDTH

__all__ = ["Glu"]


class Glu(wiring.Component):
    """Keep a strip of gates until the strip of ups comes, and multiply them.

    Strips of 32 gates and 32 ups alternate, so that the product is quantised as it is made.
    Computes ``sim.golden.activation``.

    Parameters
    ----------
    config : ArchConfig

    Members
    -------
    i_act : In(stream of data, meta)
        Results; section 0 is a gate, 1 an up. ``data``: lanes x 18 bits, ``meta``: result_label.
    o_ffn : Out(stream of data, meta)
        Products, lanes x 24 bits, with the label of the up.
    gate_fraction, shift : In(6)
        Fraction bits of the gate; shift of the product. Must hold while anything is inside.

    Timing
    ------
    Takes a beat a cycle, and offers an up's product :attr:`LATENCY` cycles later. ``i_act.ready``
    depends combinationally on ``o_ffn.ready`` and on ``i_act.p.meta``: a gate never waits.
    """

    #: Cycles from an up on ``i_act`` to the offer of its product.
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
            "gate_fraction": In(6),
            "shift": In(6),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        m.submodules.activation = activation = Activation(lanes=cfg.lanes, meta_shape=self.label)
        m.submodules.gates = gates = memory.Memory(
            shape=self.vector, depth=cfg.max_rows * cfg.beats, init=[]
        )
        write, read = gates.write_port(), gates.read_port()
        meta = self.i_act.p.meta
        is_gate = meta.section == 0
        addr = Cat(meta.index, meta.beat)[: len(write.addr)]

        held = Signal.like(self.i_act.payload)
        offered = Signal()
        advance = Signal()
        m.d.comb += [
            advance.eq(~offered | activation.i_pair.ready),
            self.i_act.ready.eq(advance | is_gate),
            write.en.eq(self.i_act.valid & is_gate),
            write.addr.eq(addr),
            write.data.eq(self.i_act.p.data),
            read.en.eq(advance),
            read.addr.eq(addr),
        ]
        with m.If(advance):
            m.d.sync += [
                held.eq(self.i_act.payload),
                offered.eq(self.i_act.valid & ~is_gate),
            ]
        pair = activation.i_pair
        m.d.comb += [
            pair.valid.eq(offered),
            pair.p.gate.eq(read.data),
            pair.p.up.eq(held.data),
            pair.p.gate_fraction.eq(self.gate_fraction),
            pair.p.shift.eq(self.shift),
            pair.p.meta.eq(held.meta),
            self.o_ffn.valid.eq(activation.o_ffn.valid),
            self.o_ffn.p.data.eq(activation.o_ffn.p.data),
            self.o_ffn.p.meta.eq(activation.o_ffn.p.meta),
            activation.o_ffn.ready.eq(self.o_ffn.ready),
        ]
        return m
