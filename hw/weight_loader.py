"""Takes a job's words from the stream: headers, exponents, weights."""

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .jobs import Dest, last_tiles, matmul_job
from .lib.slice import Slice
from .spec.formats import EXP_WIDTH

__all__ = ["WeightLoader"]


class WeightLoader(wiring.Component):
    """Take the words of a matrix job in their order, and load tile after tile into the array.

    Of a linear operator's strip these are the words of `ArchConfig.own_subs` substrips.

    Parameters
    ----------
    config : ArchConfig
    delay : int
        Cycles from ``tile_start`` to the entry of the tile's first row into the array.

    Members
    -------
    i_job : In(stream of matmul_job)
        Taken when this unit and the feeder have been at rest for a cycle.
    i_words : In(stream of cols bytes)
        The weight stream.
    o_table : Out(stream of cols bytes)
        Header words of a strip: multipliers and biases.
    weight_valid, weight_row, weight : Out
        To the array.
    taken : Out(1)
        A weight word is taken.
    job, busy : Out
        The job whose words are being taken.
    feeder_busy : In(1)
    tile_ready : Out(1)
        All words of a tile are on their way to the array, and its rows may be fed.
    tile_start : In(1)
        The tile's first row is fetched. Only while ``tile_ready``.
    exponents : Out(ArrayLayout(unsigned(EXP_WIDTH), cols))
        Exponents of the tile's columns, valid with ``tile_ready``.
    header_bank, header_bias : Out(1)
        Bank of the header that ``o_table`` is filling; whether it holds biases.
    header_takes : Out(2)
        A bit for each bank: its header is in use from now on.
    header_used : In(2)
        Banks whose header may not be overwritten.

    Timing
    ------
    A word each cycle. ``tile_ready`` rises two cycles after a tile's last word was taken. Up to two
    words of the next tile are taken ahead of ``tile_start``. ``i_words.ready`` comes from registers
    and, of a header, from ``o_table.ready``.
    """

    def __init__(self, config, *, delay):
        self.config = config
        self.delay = delay
        self.word = data.ArrayLayout(signed(8), config.cols)
        super().__init__({
            "i_job": In(stream.Signature(matmul_job(config))),
            "i_words": In(stream.Signature(self.word)),
            "o_table": Out(stream.Signature(self.word)),
            "weight_valid": Out(1),
            "weight_row": Out(range(config.rows)),
            "weight": Out(self.word),
            "taken": Out(1),
            "job": Out(matmul_job(config)),
            "busy": Out(1),
            "feeder_busy": In(1),
            "tile_ready": Out(1),
            "tile_start": In(1),
            "exponents": Out(data.ArrayLayout(unsigned(EXP_WIDTH), config.cols)),
            "header_bank": Out(1),
            "header_bias": Out(1),
            "header_takes": Out(2),
            "header_used": In(2),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        bank = Signal()
        strip = Signal(16)
        sub = Signal(range(max(2, cfg.subs)))
        block = Signal(12)
        tile = Signal(range(max(2, cfg.tiles_per_block)))
        word = Signal(range(cfg.rows))
        header_words = Signal(range(6 * cfg.own_subs + 1))
        header_count = Signal.like(header_words)
        in_header = Signal()  # header_count != 0
        job = Signal(matmul_job(cfg))
        # One less than the job's numbers, to compare counters with.
        last_block_of, last_strip_of = Signal.like(job.blocks), Signal.like(job.strips)
        loading = Signal()
        free = Signal()  # no job here nor in the feeder, as it was a cycle ago
        exponents = Signal.like(self.exponents)

        m.d.comb += [
            # A u16 for each channel of the tile's; two more with a bias.
            header_words.eq(Mux(job.bias, 6 * cfg.own_subs, 2 * cfg.own_subs)),
            self.o_table.payload.eq(self.i_words.payload),
            self.header_bank.eq(bank),
            self.header_bias.eq(job.bias),
        ]

        # Between those who take words and the start of a tile: words of the next one wait here.
        m.submodules.passing = passing = Slice(
            data.StructLayout({"word": self.word, "row": range(cfg.rows), "is_exponents": 1})
        )
        into, ahead = passing.i, passing.o
        m.d.comb += [
            into.p.word.eq(self.i_words.payload),
            into.p.row.eq(word),
            passing.o.ready.eq(~self.tile_ready | self.tile_start),
        ]
        passes = ahead.valid & ahead.ready
        is_weight = passes & ~ahead.p.is_exponents
        with m.If(is_weight & (ahead.p.row == cfg.rows - 1)):
            m.d.sync += self.tile_ready.eq(1)
        with m.Elif(self.tile_start):
            m.d.sync += self.tile_ready.eq(0)
        with m.If(passes & ahead.p.is_exponents):
            for lane in range(cfg.cols):
                m.d.sync += exponents[lane].eq(ahead.p.word[lane].as_unsigned()[:EXP_WIDTH])

        # Weights wait as long as a row takes from its memory to the array, so that the next tile's
        # first word may follow in the cycle in which a tile's first row is fetched.
        taken = Signal()
        stages = [(is_weight, ahead.p.row, ahead.p.word)]
        for number in range(self.delay):
            valid = Signal(name=f"weight_valid_{number}")
            index = Signal(range(cfg.rows), name=f"weight_row_{number}")
            value = Signal(self.word, name=f"weight_{number}", reset_less=True)
            m.d.sync += [
                valid.eq(stages[-1][0]),
                index.eq(stages[-1][1]),
                value.eq(stages[-1][2]),
            ]
            stages.append((valid, index, value))
        m.d.comb += [
            self.weight_valid.eq(stages[-1][0]),
            self.weight_row.eq(stages[-1][1]),
            self.weight.eq(stages[-1][2]),
            self.taken.eq(taken),
            self.job.eq(job),
            self.busy.eq(loading),
            self.exponents.eq(exponents),
        ]

        # Whether a tile is the last one. Known a cycle late: it takes four words at least.
        ends_block, ends_sub, ends_strip, ends_job = Signal(), Signal(), Signal(), Signal()
        of_block, of_sub, of_strip = last_tiles(
            cfg, job.dest, tile=tile, last_block=block == last_block_of, sub=sub
        )
        m.d.sync += [
            ends_block.eq(of_block),
            ends_sub.eq(of_sub),
            ends_strip.eq(of_strip),
            ends_job.eq(of_strip & (strip == last_strip_of)),
        ]
        is_scores = job.dest == Dest.SCORES

        with m.FSM():
            with m.State("IDLE"):
                # The feeder copies the job in the cycle after; then both run it.
                m.d.comb += self.i_job.ready.eq(free)
                m.d.sync += [
                    free.eq(~self.feeder_busy),
                    job.eq(self.i_job.payload),
                    last_block_of.eq(self.i_job.p.blocks - 1),
                    last_strip_of.eq(self.i_job.p.strips - 1),
                    strip.eq(0),
                    sub.eq(0),
                    block.eq(0),
                    tile.eq(0),
                    word.eq(0),
                    header_count.eq(0),
                    in_header.eq(0),
                ]
                with m.If(self.i_job.valid & free):
                    m.d.sync += [loading.eq(1), free.eq(0)]
                    with m.Switch(self.i_job.payload.dest):
                        with m.Case(Dest.SCORES):
                            m.next = "EXPONENTS"
                        with m.Case(Dest.VALUES):
                            m.next = "WEIGHTS"
                        with m.Default():
                            m.next = "HEADER"
            with m.State("HEADER"):
                free = ~self.header_used.bit_select(bank, 1) | in_header
                m.d.comb += [
                    self.o_table.valid.eq(self.i_words.valid & free),
                    self.i_words.ready.eq(self.o_table.ready & free),
                ]
                with m.If(self.o_table.valid & self.o_table.ready):
                    m.d.comb += self.header_takes.eq(Mux(bank, 2, 1))
                    m.d.sync += [header_count.eq(header_count + 1), in_header.eq(1)]
                    with m.If(header_count == header_words - 1):
                        m.d.sync += [header_count.eq(0), in_header.eq(0)]
                        m.next = "WEIGHTS"
            with m.State("EXPONENTS"):
                m.d.comb += [
                    self.i_words.ready.eq(into.ready),
                    into.valid.eq(self.i_words.valid),
                    into.p.is_exponents.eq(1),
                ]
                with m.If(into.valid & into.ready):
                    m.next = "WEIGHTS"
            with m.State("WEIGHTS"):
                m.d.comb += [
                    self.i_words.ready.eq(into.ready),
                    into.valid.eq(self.i_words.valid),
                    taken.eq(into.valid & into.ready),
                ]
                with m.If(taken):
                    m.d.sync += word.eq(word + 1)
                    with m.If(word == cfg.rows - 1):
                        m.d.sync += [word.eq(0), tile.eq(tile + 1)]
                        with m.If(ends_block):
                            m.d.sync += [tile.eq(0), block.eq(block + 1)]
                            with m.If(is_scores):
                                m.next = "EXPONENTS"
                        with m.If(ends_sub):
                            m.d.sync += [block.eq(0), sub.eq(sub + 1)]
                        with m.If(ends_strip):
                            m.d.sync += [sub.eq(0), strip.eq(strip + 1), bank.eq(~bank)]
                            with m.If((job.dest != Dest.VALUES) & ~is_scores):
                                m.next = "HEADER"
                        with m.If(ends_job):
                            m.d.sync += loading.eq(0)
                            m.next = "IDLE"
        return m
