"""From complete sums in the accumulators to results, each beside its label."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from .jobs import Dest, RowScale, is_attention, result_label
from .requantiser import OutWidth, Requantiser
from .row_feeder import strip_info
from .spec.formats import ACC_WIDTH, EXP_WIDTH

__all__ = ["Drain"]

_WIDTHS = {
    Dest.RESIDUAL: OutWidth.RESIDUAL,
    Dest.QKV: OutWidth.HEAD,
    Dest.GLU: OutWidth.HEAD,
    Dest.LOGITS: OutWidth.RESIDUAL,
    Dest.SCORES: OutWidth.FFN,
    Dest.VALUES: OutWidth.HEAD,
}


class Drain(wiring.Component):
    """Requantise a strip's sums row by row, the 32 channels of a row in ``beats`` beats.

    Of a linear operator's strip these are the `ArchConfig.own_beats` of the tile.

    Each lane computes ``sim.golden.requantise``; of ``Dest.VALUES``, ``sim.golden.attention``'s
    ``normalise``; of ``Dest.SCORES`` the first shift only.

    Parameters
    ----------
    config : ArchConfig
    member : int
        Place of the tile among those that share a strip: `ArchConfig.strip_tiles`.

    Members
    -------
    strip_valid, strip, strip_bank, strip_done, sum_en, sum_addr, sum
        The other side of `Matmul`'s members of the same names.
    i_header : In(stream of lanes u16)
        Entries of the tile's header of a strip: multipliers, then with ``header_bias`` low and high
        halves of the biases; into bank ``header_bank``.
    scale_en, scale_row, scale : read port
        Scale of an attention row, one cycle later. It, as sums and exponents, must stay while its
        ``_en`` is low.
    value_max_en, value_max_block, value_max_row, value_max : read port
        Largest exponent of V that a row sees, one cycle later.
    o_act : Out(stream of the requantiser's output)
        Results; ``meta`` is a `result_label`.
    busy : Out(1)
        Results are inside.

    Timing
    ------
    One beat per cycle, back to back over the rows of a strip; a strip's first :attr:`LATENCY`
    cycles after ``strip_valid``. ``i_header`` is taken at once. ``strip_done`` comes from a
    register, a cycle after the last sums were read; ``strip_valid`` is not looked at in that cycle,
    and the next strip begins two cycles after it at the earliest.
    """

    #: Cycles from ``strip_valid`` to the offer of the strip's first beat.
    LATENCY = 3 + Requantiser.LATENCY

    def __init__(self, config, *, member=0):
        self.config = config
        self.member = member
        row = range(config.max_rows)
        self.label = result_label(config)
        self.requantiser = Requantiser(lanes=config.lanes, meta_shape=self.label)
        super().__init__({
            "strip_valid": In(1),
            "strip": In(strip_info(config)),
            "strip_bank": In(1),
            "strip_done": Out(1),
            "sum_en": Out(1),
            "sum_addr": Out(range(config.max_rows * config.subs)),
            "sum": In(data.ArrayLayout(signed(ACC_WIDTH), config.cols)),
            "i_header": In(stream.Signature(data.ArrayLayout(unsigned(16), config.lanes))),
            "header_bank": In(1),
            "header_bias": In(1),
            "scale_en": Out(1),
            "scale_row": Out(row),
            "scale": In(RowScale),
            "value_max_en": Out(1),
            "value_max_block": Out(unsigned(4)),
            "value_max_row": Out(range(2 * config.max_rows)),
            "value_max": In(unsigned(EXP_WIDTH)),
            "o_act": Out(stream.Signature(self.requantiser.o_act.payload.shape())),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        header = self._headers(m)
        m.submodules.requantiser = requantiser = self.requantiser
        connect(m, requantiser.o_act, flipped(self.o_act))
        i_acc = requantiser.i_acc
        # Sums come out of block RAM, late in their cycle: into registers, and then one is chosen.
        fields = {name: f.shape for name, f in i_acc.payload.shape() if name != "acc"}
        entering = Signal(data.StructLayout(fields), reset_less=True)
        sums = Signal.like(self.sum, reset_less=True)
        enters = Signal()

        job = self.strip.job
        head_row = Signal(range(cfg.max_rows + 1))
        index = Signal(range(cfg.max_rows))
        score_row = Signal(range(cfg.max_rows))
        beat = Signal(range(max(2, cfg.beats)))
        block = Signal(10)  # first block of the head, from dst on
        advance = Signal()  # all stages move, or none
        offered = Signal()  # the memories give a beat's data
        begun = Signal()
        waits = Signal()  # a strip of which nothing, or not all, was read
        ends = Signal()
        # Whether the beat is the last of its row, and so on, known beforehand; a cycle before a
        # strip begins there is time to find out.
        last_beat, last_row, last_head = Signal(), Signal(), Signal()
        rows_left = Signal.like(self.strip.last_row)
        heads_left = Signal.like(self.strip.last_head)
        only_row = Signal()

        m.d.comb += [
            # From a register. Bubbles stay: nothing is gained where all stages could move.
            advance.eq(i_acc.ready),
            waits.eq(begun & ~self.strip_done),
            i_acc.valid.eq(enters),
            *(i_acc.p[name].eq(entering[name]) for name in fields),
            self.sum_en.eq(advance),
            self.sum_addr.eq(index * cfg.subs + (beat * cfg.lanes) // cfg.cols),
            header.en.eq(advance),
            header.addr.eq(Cat(beat, self.strip_bank) if cfg.beats > 1 else self.strip_bank),
            self.scale_en.eq(advance),
            score_row.eq(Mux(job.half, cfg.max_rows // 2, 0) + index),
            self.scale_row.eq(score_row),
            self.value_max_en.eq(advance),
            self.value_max_block.eq(self.strip.section_strip),
            self.value_max_row.eq(job.value_bank * (cfg.max_rows // 2) + head_row),
        ]

        shared = ~is_attention(job.dest)
        beats = Mux(shared, cfg.own_beats, cfg.beats)
        # A cycle late: those who wait for a bank are far.
        m.d.sync += [
            self.strip_done.eq(ends),
            begun.eq(self.strip_valid & ~self.strip_done),
        ]
        with m.If(~waits):
            m.d.sync += [
                last_beat.eq(beats == 1),
                only_row.eq(self.strip.last_row == 0),
                last_row.eq(self.strip.last_row == 0),
                last_head.eq(self.strip.last_head == 0),
                rows_left.eq(self.strip.last_row),
                heads_left.eq(self.strip.last_head),
            ]
        with m.Elif(advance):
            m.d.sync += [beat.eq(beat + 1), last_beat.eq(beat == beats - 2)]
            with m.If(last_beat):
                m.d.sync += [
                    beat.eq(0),
                    last_beat.eq(beats == 1),
                    index.eq(index + 1),
                    head_row.eq(head_row + 1),
                    rows_left.eq(rows_left - 1),
                    last_row.eq(rows_left == 1),
                ]
                with m.If(last_row):
                    m.d.sync += [
                        head_row.eq(0),
                        rows_left.eq(self.strip.last_row),
                        last_row.eq(only_row),
                        heads_left.eq(heads_left - 1),
                        last_head.eq(heads_left == 1),
                        block.eq(block + job.head_blocks),
                    ]
                    with m.If(last_head):
                        m.d.sync += [index.eq(0), block.eq(0)]
                        m.d.comb += ends.eq(1)

        # The label of the beat whose data the memories give in the next cycle.
        label = Signal(self.label)
        shift1, shift2 = Signal(6), Signal(6)
        bias = Signal()
        section = self.strip.section
        with m.If(advance):
            m.d.sync += [
                offered.eq(waits),
                label.dest.eq(job.dest),
                label.row.eq(job.row0 + head_row),
                label.index.eq(score_row),
                label.half.eq(job.half),
                label.head_row.eq(head_row),
                label.section.eq(section),
                label.strip.eq(self.strip.section_strip),
                label.head.eq(self.strip.head),
                label.block.eq(self.strip.block),
                label.beat.eq(beat + Mux(shared, self.member * cfg.own_beats, 0)),
                label.dst.eq(job.dst + block + self.strip.section_strip),
                label.strip_end.eq(ends),
                label.last.eq(self.strip.last & ends),
                shift1.eq(Array([job.shift1_0, job.shift1_1, job.shift1_2])[section]),
                shift2.eq(Array([job.shift2_0, job.shift2_1, job.shift2_2])[section]),
                bias.eq(job.bias),
            ]

        payload = Signal.like(entering)
        with m.If(advance):
            m.d.sync += [enters.eq(offered), entering.eq(payload), sums.eq(self.sum)]
        m.d.comb += payload.meta.eq(label)
        with m.Switch(label.dest):
            for dest, width in _WIDTHS.items():
                with m.Case(dest):
                    m.d.comb += payload.width.eq(width)
        is_values = label.dest == Dest.VALUES
        m.d.comb += payload.bypass.eq(label.dest == Dest.SCORES)
        with m.If(is_values):
            # RSH(sum << em, sl) = RSH(sum, sl - em)
            m.d.comb += [
                payload.shift1.eq(self.scale.shift1 - self.value_max),
                payload.shift2.eq(self.scale.shift2),
            ]
        with m.Else():
            m.d.comb += [payload.shift1.eq(shift1), payload.shift2.eq(shift2)]

        for lane in range(cfg.lanes):
            places = [sums[lane + cfg.lanes * n] for n in range(cfg.cols // cfg.lanes)]
            part = entering.meta.beat[: exact_log2(len(places))]
            both = Cat(header.data["low"][lane], header.data["high"][lane])
            m.d.comb += [
                i_acc.p.acc[lane].eq(Array(places)[part]),
                payload.multiplier[lane].eq(
                    Mux(is_values, self.scale.reciprocal, header.data["multiplier"][lane])
                ),
                payload.bias[lane].eq(Mux(bias, both.as_signed(), 0)),
            ]
        # Beats inside the requantiser: counted in and out.
        inside = Signal(range(2 * Requantiser.LATENCY))
        comes, leaves = i_acc.valid & i_acc.ready, self.o_act.valid & self.o_act.ready
        m.d.sync += inside.eq(inside + comes - leaves)
        m.d.comb += self.busy.eq(offered | enters | (inside != 0))
        return m

    def _headers(self, m):
        """Write headers as they come; return the read port."""
        cfg = self.config
        part = data.ArrayLayout(unsigned(16), cfg.lanes)
        names = ("multiplier", "low", "high")
        number = Signal(2)
        beat = Signal(range(max(2, cfg.beats)))
        shape = data.StructLayout(dict.fromkeys(names, part))

        ports = {}
        for index, name in enumerate(names):
            m.submodules[name] = rows = memory.Memory(shape=part, depth=2 * cfg.beats, init=[])
            write, ports[name] = rows.write_port(), rows.read_port()
            m.d.comb += [
                write.addr.eq(Cat(beat, self.header_bank) if cfg.beats > 1 else self.header_bank),
                write.data.eq(self.i_header.payload),
                write.en.eq(self.i_header.valid & (number == index)),
            ]
        m.d.comb += self.i_header.ready.eq(1)
        with m.If(self.i_header.valid):
            m.d.sync += beat.eq(beat + 1)
            with m.If(beat == cfg.own_beats - 1):
                m.d.sync += [beat.eq(0), number.eq(number + 1)]
                with m.If(~self.header_bias | (number == 2)):
                    m.d.sync += number.eq(0)

        read = _ReadPort(shape, 2 * cfg.beats)
        for name in names:
            m.d.comb += [
                ports[name].en.eq(read.en),
                ports[name].addr.eq(read.addr),
                read.data[name].eq(ports[name].data),
            ]
        return read


class _ReadPort:
    """The three parts of a header read as one."""

    def __init__(self, shape, depth):
        self.en = Signal(name="header_en")
        self.addr = Signal(range(depth), name="header_addr")
        self.data = Signal(shape, name="header")
