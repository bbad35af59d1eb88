"""Runs the norm operators, and the norm itself for whoever needs it."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .head_norm import head_port
from .lib.collision import UNDEFINED
from .operator_word import operator_layout
from .rmsnorm import RmsNorm, norm_result_layout
from .spec.formats import GAIN_WIDTH, HEAD_WIDTH, RESIDUAL_WIDTH
from .spec.isa import OPERATORS

__all__ = ["NormOperator"]


class NormOperator(wiring.Component):
    """Load gains, then normalise the rows of the pass, or those that emit: ``norm``.

    Or load the gains and constants of q and k: ``head_norm``. They stay until the next such
    operator, and are for the rows that `HeadNorm` gives while no operator runs here.

    Parameters
    ----------
    config : ArchConfig

    Members
    -------
    start : In(1)
        Begin. ``word`` and ``rows`` must hold while ``busy``.
    word : In(operator_layout("norm"))
        Or a ``head_norm`` word: the opcode tells.
    rows : In
        Rows of the pass.
    emits, emit_index, emit_row : In, Out, In
        Rows that emit, and which row is the ``emit_index``-th of them, one cycle later. With the
        word's ``emit_rows`` these are normalised, and become the first rows.
    i_entry : In(stream of lanes i16)
        Gains; of ``head_norm`` those of q, then those of k.
    residual_* : read port and ORM of the residual.
    o_norm : Out(stream of norm_result_layout)
        Rows of the residual.
    heads : In(head_port)
        Rows of heads. They must have left when ``start`` comes.
    busy : Out(1)
        An operator runs. Rows of heads do not count.

    Timing
    ------
    Takes an entry of gains each cycle, and the first row's job in the cycle after the last; rows
    then follow each other as in `RmsNorm`, and so do those of heads.
    """

    def __init__(self, config):
        self.config = config
        # Gains of the residual, of q and of k lie behind each other.
        self._head_gain = config.max_dim // config.lanes  # beat of those of q
        self.norm = RmsNorm(
            lanes=config.lanes,
            max_dim=max(config.max_dim, config.max_head_dim),
            max_rows=config.max_rows,
            max_gains=config.max_dim + 2 * config.max_head_dim,
        )
        sizes = {"lanes": config.lanes, "max_dim": config.max_dim, "max_rows": config.max_rows}
        row = range(config.max_rows)
        super().__init__({
            "start": In(1),
            "word": In(operator_layout("norm")),
            "rows": In(range(config.max_rows + 1)),
            "emits": In(range(config.max_seqs + 1)),
            "emit_index": Out(range(config.max_seqs)),
            "emit_row": In(row),
            "i_entry": In(stream.Signature(data.ArrayLayout(signed(GAIN_WIDTH), config.lanes))),
            "residual_en": Out(1),
            "residual_row": Out(row),
            "residual_beat": Out(range(config.max_dim // config.lanes)),
            "residual": In(data.ArrayLayout(signed(RESIDUAL_WIDTH), config.lanes)),
            "orm_row": Out(row),
            "orm": In(RESIDUAL_WIDTH - 1),
            "o_norm": Out(stream.Signature(norm_result_layout(**sizes))),
            "heads": In(head_port(config)),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        m.submodules.norm = norm = self.norm
        m.submodules.gains = gains = memory.Memory(
            shape=data.ArrayLayout(signed(GAIN_WIDTH), cfg.lanes),
            depth=norm.max_gains // cfg.lanes,
            init=[],
            attrs=UNDEFINED,
        )
        write, read = gains.write_port(), gains.read_port()
        block_bits = exact_log2(cfg.beats)
        count = Signal(range(norm.max_gains // cfg.lanes + 1))
        entries, last_entry = Signal.like(count), Signal.like(count)
        beats = Signal(range(cfg.max_dim // cfg.lanes + 1))
        row = Signal(range(cfg.max_rows + 1))
        # A cycle behind `row`, as `emit_row` is; the norm is busy for longer with a row.
        is_last, settled = Signal(), Signal()
        of_residual = Signal()  # the norm works for the operator, not for heads
        heads = self.heads
        job, result = norm.i_job, norm.o_norm

        # What the last head_norm word said.
        head_word = operator_layout("head_norm")(self.word.as_value())
        is_head_norm = self.word.opcode == OPERATORS["head_norm"].opcode
        gains_are_of_heads = Signal()  # known a cycle after `start`, as `last_entry` is
        constants = Signal(operator_layout("head_norm"))
        with m.If(self.start & is_head_norm):
            m.d.sync += constants.eq(head_word)

        m.d.comb += [
            beats.eq(self.word.blocks << block_bits),
            entries.eq(Mux(is_head_norm, head_word.head_blocks << (block_bits + 1), beats)),
            write.addr.eq(Mux(gains_are_of_heads, self._head_gain, 0) + count),
            write.data.eq(self.i_entry.payload),
            read.addr.eq(norm.gain_addr),
            norm.gain.eq(read.data),
            self.residual_row.eq(norm.read_row),
            self.residual_beat.eq(norm.read_beat),
            self.orm_row.eq(norm.orm_row),
            heads.read_row.eq(norm.read_row),
            heads.read_beat.eq(norm.read_beat),
            heads.orm_row.eq(norm.orm_row),
            self.emit_index.eq(row),
            self.o_norm.p.data.eq(result.p.data),
            heads.norm.p.data.eq(Cat(x[:HEAD_WIDTH] for x in result.p.data)),
            self.busy.eq(1),
        ]
        for name in ("row", "beat", "last"):
            m.d.comb += [
                self.o_norm.p[name].eq(result.p[name]),
                heads.norm.p[name].eq(result.p[name]),
            ]

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.busy.eq(self.start)
                self._offer_heads(m, constants)
                m.d.sync += [count.eq(0), row.eq(0)]
                with m.If(self.start):
                    m.next = "GAINS"
            with m.State("GAINS"):
                m.d.comb += [self.i_entry.ready.eq(1), write.en.eq(self.i_entry.valid)]
                with m.If(self.i_entry.valid):
                    m.d.sync += count.eq(count + 1)
                    with m.If(count == last_entry):
                        m.d.sync += of_residual.eq(~gains_are_of_heads)
                        m.next = "ROWS"
                        with m.If(gains_are_of_heads):
                            m.next = "IDLE"
            with m.State("ROWS"):
                m.d.comb += [
                    job.valid.eq(settled),
                    job.p.row.eq(Mux(self.word.emit_rows, self.emit_row, row)),
                    job.p.dst_row.eq(row),
                    job.p.beats.eq(beats),
                    job.p.epsilon.eq(self.word.epsilon),
                    job.p.shift.eq(self.word.shift),
                ]
                with m.If(settled & job.ready):
                    m.d.sync += row.eq(row + 1)
                    with m.If(is_last):
                        m.next = "FINISH"
            with m.State("FINISH"):
                with m.If(~norm.busy):
                    m.d.sync += of_residual.eq(0)
                    m.next = "IDLE"
        m.d.sync += [
            gains_are_of_heads.eq(is_head_norm),
            last_entry.eq(entries - 1),
            is_last.eq(row + 1 == Mux(self.word.emit_rows, self.emits, self.rows)),
            settled.eq(~(job.valid & job.ready)),
        ]
        self._serve(m, of_residual)
        return m

    def _serve(self, m, of_residual):
        """Let the norm read rows of the residual or of heads, and give their results."""
        norm, heads = self.norm, self.heads
        with m.If(of_residual):
            m.d.comb += [
                self.residual_en.eq(norm.read_en),
                norm.read_data.eq(self.residual),
                norm.orm.eq(self.orm),
                self.o_norm.valid.eq(norm.o_norm.valid),
                norm.o_norm.ready.eq(self.o_norm.ready),
            ]
        with m.Else():
            m.d.comb += [
                heads.read_en.eq(norm.read_en),
                norm.orm.eq(heads.orm),
                heads.norm.valid.eq(norm.o_norm.valid),
                norm.o_norm.ready.eq(heads.norm.ready),
            ]
            for lane in range(self.config.lanes):
                m.d.comb += norm.read_data[lane].eq(heads.read_data[lane])

    def _offer_heads(self, m, constants):
        """Let the norm take rows of heads."""
        norm, heads = self.norm, self.heads
        job, is_key = norm.i_job, heads.job.p.is_key
        key_gain = constants.head_blocks << exact_log2(self.config.beats)
        m.d.comb += [
            job.valid.eq(heads.job.valid),
            heads.job.ready.eq(job.ready),
            job.p.row.eq(heads.job.p.row),
            job.p.dst_row.eq(heads.job.p.row),
            job.p.beats.eq(heads.job.p.beats),
            job.p.gain_beat.eq(self._head_gain + Mux(is_key, key_gain, 0)),
            job.p.epsilon.eq(Mux(is_key, constants.epsilon_k, constants.epsilon_q)),
            job.p.shift.eq(Mux(is_key, constants.shift_k, constants.shift_q)),
            job.p.is_head.eq(1),
        ]
