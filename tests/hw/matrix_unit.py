"""The matrix unit with its neighbours: what `bench_matmul` drives."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.activation_memory import ActivationMemory, Block
from hw.drain import Drain
from hw.jobs import matmul_job
from hw.matmul import Matmul
from hw.row_feeder import feed_ports
from hw.table_reader import TableReader

__all__ = ["MatrixUnit"]

#: Ports of the feeder that meet the activation memory.
_ACTS = ("act_block", "act_row", "act")
#: Read ports of the drain.
_DRAIN_READS = (
    "scale_en", "scale_row", "scale", "value_max_en", "value_max_block", "value_max_row",
    "value_max",
)  # fmt: skip
#: What `Matmul` says of itself.
_STATE = ("taking", "feeding", "starved", "stalled", "loading")


class MatrixUnit(wiring.Component):
    """`Matmul`, `Drain`, the table reader and an activation memory that a test can fill.

    What attention keeps elsewhere is read from the bench: probabilities, exponents of V and their
    maxima, scales.
    """

    def __init__(self, config):
        self.config = config
        self.matmul = Matmul(config)
        self.drain = Drain(config)
        super().__init__({
            "i_job": In(stream.Signature(matmul_job(config))),
            "i_words": In(stream.Signature(self.matmul.word)),
            "o_act": Out(stream.Signature(self.drain.o_act.payload.shape())),
            "write_en": In(1),
            "write_block": In(10),
            "write_row": In(range(config.max_rows)),
            "write": In(Block),
            **{name: member for name, member in feed_ports(config).items() if name not in _ACTS},
            **{f"drain_{name}": self.drain.signature.members[name] for name in _DRAIN_READS},
            "busy": Out(1),
            **{name: Out(1) for name in _STATE},
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        m.submodules.matmul = matmul = self.matmul
        m.submodules.drain = drain = self.drain
        m.submodules.table = table = TableReader(cfg)
        m.submodules.acts = acts = ActivationMemory(blocks=cfg.act_blocks, max_rows=cfg.max_rows)
        connect(m, flipped(self.i_job), matmul.i_job)
        connect(m, flipped(self.i_words), matmul.i_words)
        connect(m, drain.o_act, flipped(self.o_act))
        connect(m, matmul.o_table, table.i_header)
        m.d.comb += [
            drain.i_header.valid.eq(table.o_entry.valid),
            drain.i_header.payload.eq(table.o_entry.payload),
            table.o_entry.ready.eq(drain.i_header.ready),
            acts.write_en.eq(self.write_en),
            acts.write_block.eq(self.write_block),
            acts.write_row.eq(self.write_row),
            acts.write.eq(self.write),
            acts.read_block.eq(matmul.act_block),
            acts.read_row.eq(matmul.act_row),
            matmul.act.eq(acts.read),
            self.busy.eq(matmul.busy | drain.busy),
            *(getattr(self, name).eq(getattr(matmul, name)) for name in _STATE),
        ]
        for name, member in feed_ports(cfg).items():
            if name not in _ACTS:
                ours, inner = getattr(self, name), getattr(matmul, name)
                m.d.comb += ours.eq(inner) if member.flow is Out else inner.eq(ours)
        for name in _DRAIN_READS:
            ours, inner = getattr(self, f"drain_{name}"), getattr(drain, name)
            is_output = drain.signature.members[name].flow is Out
            m.d.comb += ours.eq(inner) if is_output else inner.eq(ours)
        for name in ("strip_valid", "strip", "strip_bank", "sum", "header_bank", "header_bias"):
            m.d.comb += getattr(drain, name).eq(getattr(matmul, name))
        for name in ("strip_done", "sum_en", "sum_addr"):
            m.d.comb += getattr(matmul, name).eq(getattr(drain, name))
        return m
