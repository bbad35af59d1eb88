"""The matrix unit: weights in, rows through the systolic array, exact sums out."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .accumulator import Accumulator
from .activation_memory import Block
from .jobs import Dest, matmul_job
from .spec.formats import ACC_WIDTH, ACT_WIDTH, BLOCK_LEN, EXP_WIDTH, PROB_PLANE_SHIFT, PROB_WIDTH
from .systolic_array import SystolicArray

__all__ = ["Matmul", "strip_info"]

#: Cycles from the address of an activation row to its entry into the array.
FEED_LATENCY = 3

#: Tiles that can be inside the array at once, at most.
_TILES_IN_FLIGHT = 16


def strip_info(config):
    """Return the layout of what is known of a strip when its sums are complete."""
    return data.StructLayout({
        "job": matmul_job(config),
        "section": unsigned(2),
        "section_strip": unsigned(16),
        "head": unsigned(8),
        "block": unsigned(4),
        "last": 1,
    })


class Matmul(wiring.Component):
    """Run matrix jobs: stream weight tiles through the array, leave exact sums in accumulators.

    Computes ``sim.golden.matmul.dot`` for every row of the job and every channel of a strip.
    Words of the stream come in the order of `hw.spec.layout`. While one strip's sums are drained,
    the next is computed.

    Parameters
    ----------
    config : ArchConfig

    Members
    -------
    i_job : In(stream of matmul_job)
        A job; what its rows read must be complete when it is offered. Taken when the job before has
        fed its last row; its results may still be on their way.
    i_words : In(stream of cols bytes)
        The weight stream.
    o_table : Out(stream of cols bytes)
        Header words of a strip: multipliers and biases.
    act_* : read port of the activation memory: 32 elements and their exponent, one cycle later.
    prob_*, value_exp_*, value_max_* : read ports for P.V: 32 probabilities of row ``prob_row``,
        the exponents of the same 32 positions, and the running maximum of row ``value_max_row``.
    strip_valid, strip, strip_bank : Out
        A strip of sums waits in bank ``strip_bank``.
    strip_done : In(1)
        The strip on offer has been read.
    header_bank, header_bias : Out(1)
        Bank of the header that ``o_table`` is filling; whether it holds biases.
    sum_en, sum_addr, sum : read port of the accumulators: ``cols`` sums, one cycle later.
        ``sum_addr`` = row * subs + substrip.
    busy, feeding, starved, loading : Out(1)
        A job is inside; a row enters the array; rows wait for weights; a weight word is taken.

    Timing
    ------
    With words always there, a tile takes the larger of ``config.rows`` and the job's rows (twice
    that for P.V) in cycles, without bubbles between tiles and strips.
    """

    def __init__(self, config):
        self.config = config
        self.array = SystolicArray(rows=config.rows, cols=config.cols)
        self.word = data.ArrayLayout(signed(8), config.cols)
        block, row = unsigned(10), range(config.max_rows)
        super().__init__({
            "i_job": In(stream.Signature(matmul_job(config))),
            "i_words": In(stream.Signature(self.word)),
            "o_table": Out(stream.Signature(self.word)),
            "act_block": Out(block),
            "act_row": Out(row),
            "act": In(Block),
            "prob_row": Out(row),
            "prob_block": Out(block),
            "prob": In(data.ArrayLayout(unsigned(PROB_WIDTH), BLOCK_LEN)),
            "value_block": Out(unsigned(4)),
            "value_exp": In(data.ArrayLayout(unsigned(EXP_WIDTH), BLOCK_LEN)),
            "value_max_row": Out(row),
            "value_max": In(unsigned(EXP_WIDTH)),
            "strip_valid": Out(1),
            "strip": Out(strip_info(config)),
            "strip_bank": Out(1),
            "strip_done": In(1),
            "header_bank": Out(1),
            "header_bias": Out(1),
            "sum_en": In(1),
            "sum_addr": In(range(config.max_rows * config.subs)),
            "sum": Out(data.ArrayLayout(signed(ACC_WIDTH), config.cols)),
            "busy": Out(1),
            "feeding": Out(1),
            "starved": Out(1),
            "loading": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        m.submodules.array = self.array
        m.submodules.acc = acc = Accumulator(cols=cfg.cols, depth=cfg.max_rows * cfg.subs)

        # Bank bookkeeping. A header is in use from its first word until its strip is drained.
        full = Signal(2)
        header_used = Signal(2)
        self._filling = Signal(2)  # a strip has begun and is not complete
        self._begins = Signal(2)

        tile_ready = Signal()
        tile_start = Signal()
        shadow_full = Signal()
        exponents = Signal(data.ArrayLayout(unsigned(EXP_WIDTH), cfg.cols))
        job = Signal(matmul_job(cfg))  # the loader's
        loading = Signal()
        feed_busy = Signal()

        self._loader(m, job, loading, feed_busy, header_used, shadow_full, tile_ready, exponents)
        with m.If(tile_ready):
            m.d.sync += shadow_full.eq(~tile_start)

        tag = self._feeder(m, feed_busy, full, tile_ready, tile_start, loading, job)
        self._collector(m, acc, tag, tile_start, exponents, full)

        # Drained strips give their banks back.
        read_bank = Signal()
        m.d.comb += [
            self.strip_valid.eq(full.bit_select(read_bank, 1)),
            self.strip.eq(Array(self._bank_strip)[read_bank]),
            self.strip_bank.eq(read_bank),
            acc.read_bank.eq(read_bank),
            acc.read_addr.eq(self.sum_addr),
            acc.read_en.eq(self.sum_en),
            self.sum.eq(acc.read_data),
        ]
        with m.If(self.strip_done):
            m.d.sync += read_bank.eq(~read_bank)
        drops = Signal(2)
        m.d.comb += drops.eq(Mux(self.strip_done, Mux(read_bank, 2, 1), 0))
        m.d.sync += [
            full.eq((full & ~drops) | self._fills),
            self._filling.eq((self._filling & ~self._fills) | self._begins),
            header_used.eq((header_used & ~drops) | self._header_takes),
        ]
        m.d.comb += self.busy.eq(loading | feed_busy | self._filling.any() | full.any())
        return m

    def _loader(self, m, job, loading, feed_busy, header_used, shadow_full, tile_ready, exponents):
        """Words of the stream: header to the table reader, exponents, and weights to the array."""
        cfg = self.config
        array = self.array
        bank = Signal()
        strip = Signal(16)
        sub = Signal(range(max(2, cfg.subs)))
        block = Signal(12)
        tile = Signal(range(max(2, cfg.tiles_per_block)))
        word = Signal(range(cfg.rows))
        header_words = Signal(range(3 * 2 * BLOCK_LEN // cfg.cols + 1))
        header_count = Signal.like(header_words)
        self._header_takes = Signal(2)

        m.d.comb += [
            header_words.eq(Mux(job.bias, 6 * BLOCK_LEN // cfg.cols, 2 * BLOCK_LEN // cfg.cols)),
            self.o_table.payload.eq(self.i_words.payload),
            self.header_bank.eq(bank),
            self.header_bias.eq(job.bias),
        ]

        # Weights travel FEED_LATENCY - 1 cycles, so that the first row of a tile may be fetched in
        # the cycle in which the tile's last word is taken.
        taken = Signal()
        stages = [(taken, word, self.i_words.payload)]
        for number in range(FEED_LATENCY - 1):
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
            array.weight_valid.eq(stages[-1][0]),
            array.weight_row.eq(stages[-1][1]),
            array.weight.eq(stages[-1][2]),
            self.loading.eq(taken),
        ]

        last_block = block == job.blocks - 1
        last_sub = sub == cfg.subs - 1
        last_strip = strip == job.strips - 1
        is_scores = job.dest == Dest.SCORES

        with m.FSM(name="loader"):
            with m.State("IDLE"):
                # The feeder copies the job in the cycle after; then both run it.
                m.d.comb += self.i_job.ready.eq(~feed_busy)
                m.d.sync += job.eq(self.i_job.payload)
                with m.If(self.i_job.valid & ~feed_busy):
                    m.d.sync += [
                        strip.eq(0),
                        sub.eq(0),
                        block.eq(0),
                        tile.eq(0),
                        word.eq(0),
                        header_count.eq(0),
                        loading.eq(1),
                    ]
                    with m.Switch(self.i_job.payload.dest):
                        with m.Case(Dest.SCORES):
                            m.next = "EXPONENTS"
                        with m.Case(Dest.VALUES):
                            m.next = "WEIGHTS"
                        with m.Default():
                            m.next = "HEADER"
            with m.State("HEADER"):
                free = ~header_used.bit_select(bank, 1) | (header_count != 0)
                m.d.comb += [
                    self.o_table.valid.eq(self.i_words.valid & free),
                    self.i_words.ready.eq(self.o_table.ready & free),
                ]
                with m.If(self.o_table.valid & self.o_table.ready):
                    m.d.comb += self._header_takes.eq(Mux(bank, 2, 1))
                    m.d.sync += header_count.eq(header_count + 1)
                    with m.If(header_count == header_words - 1):
                        m.d.sync += header_count.eq(0)
                        m.next = "WEIGHTS"
            with m.State("EXPONENTS"):
                m.d.comb += self.i_words.ready.eq(~shadow_full)
                with m.If(self.i_words.valid & ~shadow_full):
                    for lane in range(cfg.cols):
                        m.d.sync += exponents[lane].eq(
                            self.i_words.payload[lane].as_unsigned()[:EXP_WIDTH]
                        )
                    m.next = "WEIGHTS"
            with m.State("WEIGHTS"):
                m.d.comb += [
                    self.i_words.ready.eq(~shadow_full),
                    taken.eq(self.i_words.valid & ~shadow_full),
                ]
                with m.If(taken):
                    m.d.sync += word.eq(word + 1)
                    with m.If(word == cfg.rows - 1):
                        m.d.sync += [word.eq(0), tile.eq(tile + 1)]
                        with m.If(tile == cfg.tiles_per_block - 1):
                            m.d.sync += [tile.eq(0), block.eq(block + 1)]
                            with m.If(is_scores):
                                m.next = "EXPONENTS"
                            with m.If(last_block):
                                m.d.sync += [block.eq(0), sub.eq(sub + 1)]
                                with m.If(last_sub):
                                    m.d.sync += [sub.eq(0), strip.eq(strip + 1), bank.eq(~bank)]
                                    with m.If(last_strip):
                                        m.d.sync += loading.eq(0)
                                        m.next = "IDLE"
                                    with m.Elif((job.dest != Dest.VALUES) & ~is_scores):
                                        m.next = "HEADER"
        m.d.comb += tile_ready.eq(shadow_full | (taken & (word == cfg.rows - 1)))

    def _feeder(self, m, busy, full, tile_ready, tile_start, loading, loader_job):
        """Rows of activations or probabilities into the array, tile after tile."""
        cfg = self.config
        array = self.array
        job = Signal(matmul_job(cfg), name="feed_job")
        bank = Signal(name="feed_bank")
        strip = Signal(16, name="feed_strip")
        sub = Signal(range(max(2, cfg.subs)), name="feed_sub")
        block = Signal(12, name="feed_block")
        tile = Signal(range(max(2, cfg.tiles_per_block)), name="feed_tile")
        head = Signal(range(cfg.max_rows + 1), name="feed_head")
        head_row = Signal(range(cfg.max_rows + 1), name="feed_head_row")
        index = Signal(range(cfg.max_rows), name="feed_index")
        plane = Signal(name="feed_plane")  # 0: high half of the probabilities
        source = Signal(10, name="feed_source")  # block of the row's head
        in_tile = Signal()
        section = Signal(2)
        section_strip = Signal(16)
        section_head = Signal(8)
        head_block = Signal(4)
        # Copied in the cycle after the loader took the job: `loading` rises with its copy.
        was_loading = Signal()
        m.d.sync += was_loading.eq(loading)
        with m.If(loading & ~was_loading & ~busy):
            m.d.sync += [
                busy.eq(1),
                job.eq(loader_job),
                strip.eq(0),
                section.eq(0),
                section_strip.eq(0),
                section_head.eq(0),
                head_block.eq(0),
                source.eq(loader_job.src),
            ]

        is_values = job.dest == Dest.VALUES
        first_of_strip = (sub == 0) & (block == 0) & (tile == 0) & ~in_tile
        bank_free = ~(full.bit_select(bank, 1) | self._filling.bit_select(bank, 1))
        can_start = busy & ~in_tile & tile_ready & (bank_free | ~first_of_strip)
        issue = Signal()
        m.d.comb += [
            tile_start.eq(can_start),
            issue.eq(can_start | in_tile),
            self.feeding.eq(issue),
            self.starved.eq(busy & ~in_tile & ~tile_ready),
        ]

        last_row = head_row == job.head_rows - 1
        last_head = head == job.heads - 1
        last_plane = plane | ~is_values
        end_tile = last_row & last_head & last_plane
        end_block = tile == cfg.tiles_per_block - 1
        end_sub = end_block & (block == job.blocks - 1)
        end_strip = end_sub & (sub == cfg.subs - 1)
        last = strip == job.strips - 1

        info = Signal(strip_info(cfg))
        m.d.comb += [
            info.job.eq(job),
            info.section.eq(section),
            info.section_strip.eq(section_strip),
            info.head.eq(section_head),
            info.block.eq(head_block),
            info.last.eq(last),
        ]
        self._bank_strip = [Signal(strip_info(cfg), name=f"bank_strip_{n}") for n in range(2)]
        with m.If(can_start & first_of_strip):
            m.d.comb += self._begins.eq(Mux(bank, 2, 1))
            for number in range(2):
                with m.If(bank == number):
                    m.d.sync += self._bank_strip[number].eq(info)

        with m.If(issue):
            m.d.sync += [
                in_tile.eq(1),
                head_row.eq(head_row + 1),
                index.eq(index + 1),
            ]
            with m.If(last_row):
                m.d.sync += [
                    head_row.eq(0),
                    head.eq(head + 1),
                    source.eq(source + job.head_blocks),
                ]
                with m.If(last_head):
                    m.d.sync += [
                        head.eq(0),
                        index.eq(0),
                        plane.eq(1),
                        source.eq(job.src),
                    ]
            with m.If(end_tile):
                m.d.sync += [in_tile.eq(0), plane.eq(0), tile.eq(tile + 1)]
                with m.If(end_block):
                    m.d.sync += [tile.eq(0), block.eq(block + 1)]
                with m.If(end_sub):
                    m.d.sync += [block.eq(0), sub.eq(sub + 1)]
                with m.If(end_strip):
                    m.d.sync += [sub.eq(0), strip.eq(strip + 1), bank.eq(~bank)]
                    self._next_section(m, job, section, section_strip, section_head, head_block)
                    with m.If(last):
                        m.d.sync += busy.eq(0)

        row = Signal(range(cfg.max_rows))
        m.d.comb += [
            row.eq(job.row0 + head_row),
            self.act_block.eq(source + block),
            self.act_row.eq(row),
            self.prob_row.eq(index),
            self.prob_block.eq(block),
            self.value_block.eq(strip),
            self.value_max_row.eq(head_row),
        ]

        # Stage 1: the memories' data; pick the tile's part of the 32 elements.
        tag_shape = data.StructLayout({
            "valid": 1,
            "swap": 1,
            "addr": range(cfg.max_rows * cfg.subs),
            "bank": 1,
            "first": 1,
            "last": 1,
            "by_column": 1,
            "shift": unsigned(6),
        })
        tags = [Signal(tag_shape, name=f"feed_tag_{n}") for n in range(FEED_LATENCY)]
        picks = Signal.like(tile, name="pick_tile")
        values = Signal()
        low = Signal()
        sub_index = Signal(range(cfg.max_rows * cfg.subs))
        m.d.comb += sub_index.eq(index * cfg.subs + sub)
        m.d.sync += [
            tags[0].valid.eq(issue),
            tags[0].swap.eq(can_start),
            tags[0].addr.eq(sub_index),
            tags[0].bank.eq(bank),
            tags[0].first.eq((block == 0) & (tile == 0) & ~plane),
            tags[0].last.eq(end_tile & end_strip),
            tags[0].by_column.eq(job.dest == Dest.SCORES),
            tags[0].shift.eq(Mux(is_values & ~plane, PROB_PLANE_SHIFT, 0)),
            picks.eq(tile),
            values.eq(is_values),
            low.eq(plane),
        ]

        count = cfg.rows
        act = Signal(data.ArrayLayout(signed(ACT_WIDTH), count), reset_less=True)
        prob = Signal(data.ArrayLayout(unsigned(PROB_WIDTH), count), reset_less=True)
        drop = Signal(data.ArrayLayout(unsigned(EXP_WIDTH), count), reset_less=True)
        values_2, low_2 = Signal(), Signal()
        m.d.sync += [tags[1].eq(tags[0]), values_2.eq(values), low_2.eq(low)]
        with m.If(~values):
            m.d.sync += tags[1].shift.eq(self.act.exp)
        with m.Switch(picks):
            for number in range(cfg.tiles_per_block):
                with m.Case(number):
                    for lane in range(count):
                        element = number * count + lane
                        m.d.sync += act[lane].eq(self.act.q[element])
                        with m.If(values):
                            m.d.sync += [
                                prob[lane].eq(self.prob[element]),
                                drop[lane].eq(self.value_max - self.value_exp[element]),
                            ]

        # Stage 2: the exponent of V folded into p, then the plane of the result.
        fed = Signal(data.ArrayLayout(signed(ACT_WIDTH), count), reset_less=True)
        m.d.sync += tags[2].eq(tags[1])
        for lane in range(count):
            with m.If(values_2):
                amount = drop[lane]
                doubled = Signal(PROB_WIDTH + 1, name=f"prob_doubled_{lane}")
                rounded = Signal(PROB_WIDTH, name=f"prob_rounded_{lane}")
                # RSH(p, s) = ((2 p >> s) + 1) >> 1: the bit below the result rounds.
                m.d.comb += [
                    doubled.eq(Cat(0, prob[lane]) >> amount),
                    rounded.eq((doubled + 1) >> 1),
                ]
                half = PROB_PLANE_SHIFT
                m.d.sync += fed[lane].eq(
                    Mux(low_2, rounded[:half], rounded[half : 2 * half]),
                )
            with m.Else():
                m.d.sync += fed[lane].eq(act[lane])

        m.d.comb += [
            array.act_valid.eq(tags[2].valid),
            array.act_swap.eq(tags[2].swap),
            array.act.eq(fed),
        ]
        return tags[2]

    def _next_section(self, m, job, section, section_strip, section_head, head_block):
        """Advance the place of a strip among the outputs: section, strip in it, head, block."""
        m.d.sync += [section_strip.eq(section_strip + 1), head_block.eq(head_block + 1)]
        with m.If(job.dest == Dest.GLU):
            # Strips alternate: gate, up. Both have the same strip number.
            m.d.sync += [section.eq(section ^ 1), section_strip.eq(section_strip + section[0])]
        with m.Elif(job.dest == Dest.QKV):
            with m.If(head_block == job.head_blocks - 1):
                m.d.sync += [head_block.eq(0), section_head.eq(section_head + 1)]
            strips = Array([job.strips0, job.strips1, job.strips2, job.strips2])[section]
            with m.If(section_strip == strips - 1):
                m.d.sync += [
                    section.eq(section + 1),
                    section_strip.eq(0),
                    section_head.eq(0),
                    head_block.eq(0),
                ]

    def _collector(self, m, acc, tag, tile_start, exponents, full):
        """Labels wait for their sums; sums go to the accumulators."""
        cfg = self.config
        array = self.array
        delayed = tag
        for number in range(array.latency):
            stage = Signal(tag.shape(), name=f"sum_tag_{number}")
            m.d.sync += stage.eq(delayed)
            delayed = stage

        m.submodules.exponents = waiting = memory.Memory(
            shape=exponents.shape(), depth=_TILES_IN_FLIGHT, init=[]
        )
        write = waiting.write_port()
        read = waiting.read_port(domain="comb")
        # Incremented before use: the first tile's entry is number 1 for both.
        write_index = Signal(ceil_log2(_TILES_IN_FLIGHT))
        read_index = Signal.like(write_index)
        m.d.comb += [
            write.addr.eq(write_index + 1),
            write.data.eq(exponents),
            write.en.eq(tile_start),
            read.addr.eq(read_index + delayed.swap),
        ]
        with m.If(tile_start):
            m.d.sync += write_index.eq(write_index + 1)
        with m.If(delayed.valid & delayed.swap):
            m.d.sync += read_index.eq(read_index + 1)

        m.d.comb += [
            acc.i_valid.eq(delayed.valid),
            acc.i_bank.eq(delayed.bank),
            acc.i_addr.eq(delayed.addr),
            acc.i_first.eq(delayed.first),
            acc.i_psum.eq(array.psum),
        ]
        for lane in range(cfg.cols):
            m.d.comb += acc.i_shift[lane].eq(
                delayed.shift + Mux(delayed.by_column, read.data[lane], 0)
            )

        # A strip is complete when its last sum has gone through the accumulator.
        self._fills = Signal(2)
        done = Signal(2)
        m.d.comb += done.eq(Mux(delayed.valid & delayed.last, Mux(delayed.bank, 2, 1), 0))
        for number in range(acc.LATENCY):
            stage = Signal(2, name=f"strip_done_{number}")
            m.d.sync += stage.eq(done)
            done = stage
        m.d.comb += self._fills.eq(done)
