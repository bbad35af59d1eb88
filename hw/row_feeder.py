"""Fetches rows of activations or probabilities for the array, tile after tile."""

from amaranth.hdl import Array, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .activation_memory import Block
from .jobs import Dest, is_attention, last_tiles, matmul_job
from .lib.arithmetic import round_shift
from .spec.formats import ACT_WIDTH, EXP_WIDTH, PROB_PLANE_SHIFT, PROB_WIDTH

__all__ = ["FEED_LATENCY", "RowFeeder", "feed_ports", "feed_tag", "strip_info"]

#: Cycles from the address of an activation row to its entry into the array.
FEED_LATENCY = 4


def strip_info(config):
    """Return the layout of what is known of a strip when its sums are complete.

    ``section``, ``section_strip``: place among the outputs; ``head``, ``block``: of a fused
    projection, KV head and block in it; ``last``: of the job; ``last_row``, ``last_head``: a number
    less than those of the job, to compare with.
    """
    return data.StructLayout({
        "job": matmul_job(config),
        "section": unsigned(2),
        "section_strip": unsigned(16),
        "head": unsigned(8),
        "block": unsigned(4),
        "last": 1,
        "last_row": range(config.max_rows),
        "last_head": range(config.max_rows),
    })


def feed_tag(config):
    """Return the layout of what is to become of the sums of a row in the array.

    ``swap``: first row of a tile; ``addr``, ``bank``, ``first``: accumulators, and whether to begin
    a sum; ``shift``: exponent of the row, to which with ``by_column`` that of the column comes;
    ``last``: of the strip.
    """
    return data.StructLayout({
        "valid": 1,
        "swap": 1,
        "addr": range(config.max_rows * config.subs),
        "bank": 1,
        "first": 1,
        "last": 1,
        "by_column": 1,
        "shift": unsigned(6),
    })


def feed_ports(config):
    """Return the read ports of a feeder: activations, probabilities, exponents of V.

    Of a block of the last two a part of ``config.feed_len`` elements is read: ``part``.
    """
    block, row = unsigned(10), range(config.max_rows)
    return {
        "act_block": Out(block),
        "act_row": Out(row),
        "act": In(Block),
        "part": Out(range(max(2, config.feed_parts))),
        "prob_row": Out(row),
        "prob_block": Out(block),
        "prob": In(data.ArrayLayout(unsigned(PROB_WIDTH), config.feed_len)),
        "value_half": Out(1),
        "value_block": Out(unsigned(4)),
        "value_pos_block": Out(block),
        "value_exp": In(data.ArrayLayout(unsigned(EXP_WIDTH), config.feed_len)),
        "value_max_row": Out(range(2 * config.max_rows)),
        "value_max": In(unsigned(EXP_WIDTH)),
    }


class RowFeeder(wiring.Component):
    """Fetch the rows of a matrix job for each tile, as soon as the tile is loaded.

    For P.V the exponent of each position is folded into its probability, which then goes in as two
    rows of seven bits: `numerics.md` 3.2 steps 7 and 8.

    Parameters
    ----------
    config : ArchConfig
    group : int
        Group of the tile, whose strips of a linear operator it computes: `ArchConfig.groups`.

    Members
    -------
    job, loading : In
        The loader's job; a new one is copied when ``loading`` rises.
    busy : Out(1)
        Rows are yet to be fed.
    act_*, prob_*, value_* : read ports, data one cycle after the address. See `Matmul`.
    tile_ready, tile_start : from and to `WeightLoader`.
    banks_used : In(2)
        Banks of sums that are not free for a new strip.
    begins : Out(2)
        A bit for each bank: a strip begins in it, described by ``strip``.
    strip : Out(strip_info)
    tag, fed : Out
        A row enters the array (``tag.valid``), `FEED_LATENCY` cycles after its address.
    feeding, starved, stalled : Out(1)
        A row is fetched; there are rows to fetch and no tile; there are both, and no free bank.

    Timing
    ------
    A row each cycle, without bubbles between tiles that are ready. ``tile_ready`` is low for two
    cycles at least after ``tile_start``, for a tile is loaded in four words or more.
    """

    def __init__(self, config, *, group=0):
        self.config = config
        self.group = group
        super().__init__({
            "job": In(matmul_job(config)),
            "loading": In(1),
            "busy": Out(1),
            **feed_ports(config),
            "tile_ready": In(1),
            "tile_start": Out(1),
            "banks_used": In(2),
            "begins": Out(2),
            "strip": Out(strip_info(config)),
            "tag": Out(feed_tag(config)),
            "fed": Out(data.ArrayLayout(signed(ACT_WIDTH), config.rows)),
            "feeding": Out(1),
            "starved": Out(1),
            "stalled": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        busy = self.busy
        job = Signal(matmul_job(cfg))
        bank = Signal()
        strip = Signal(16)
        sub = Signal(range(max(2, cfg.subs)))
        block = Signal(12)
        tile = Signal(range(max(2, cfg.tiles_per_block)))
        head = Signal(range(cfg.max_rows + 1))
        head_row = Signal(range(cfg.max_rows + 1))
        index = Signal(range(cfg.max_rows))
        plane = Signal()  # 0: high half of the probabilities
        source = Signal(10)  # block of the row's head
        in_tile = Signal()
        section = Signal(2)
        section_strip = Signal(16)
        section_head = Signal(8)
        head_block = Signal(4)
        steps = Signal(range(cfg.groups + 1))  # to the tile's next strip: a place each
        first_of_strip = Signal()  # the row fetched next is one
        # One less than the job's numbers, to compare counters with.
        last_row_of, last_head_of = Signal.like(job.head_rows), Signal.like(job.heads)
        last_block_of, last_strip_of = Signal.like(job.blocks), Signal.like(job.strips)
        last_strips = [Signal(16, name=f"last_strip_{n}") for n in range(3)]
        was_loading = Signal()
        m.d.sync += was_loading.eq(self.loading)
        with m.If(self.loading & ~was_loading & ~busy):
            m.d.sync += [
                busy.eq(1),
                job.eq(self.job),
                strip.eq(0),
                section.eq(0),
                section_strip.eq(0),
                section_head.eq(0),
                head_block.eq(0),
                steps.eq(Mux(is_attention(self.job.dest), 0, self.group)),
                first_of_strip.eq(1),
                source.eq(self.job.src),
                last_row_of.eq(self.job.head_rows - 1),
                last_head_of.eq(self.job.heads - 1),
                last_block_of.eq(self.job.blocks - 1),
                last_strip_of.eq(self.job.strips - 1),
                *(line.eq(self.job[f"strips{n}"] - 1) for n, line in enumerate(last_strips)),
            ]

        is_values = job.dest == Dest.VALUES
        # The row fetched next begins no strip, or its bank is free. As it was a cycle ago: a bank
        # that gets used is not asked for in the cycle after.
        has_bank = Signal()
        wants = busy & ~in_tile & self.tile_ready
        can_start = wants & has_bank
        issue = Signal()
        m.d.comb += [
            self.tile_start.eq(can_start),
            issue.eq(can_start | in_tile),
            self.feeding.eq(issue),
            self.starved.eq(busy & ~in_tile & ~self.tile_ready),
            self.stalled.eq(wants & ~has_bank),
        ]

        last_row = head_row == last_row_of
        last_head = head == last_head_of
        last_plane = plane | ~is_values
        end_tile = last_row & last_head & last_plane
        # Whether the tile is the last one. Known a cycle late: the next takes longer to load.
        end_block, end_sub, end_strip, last = Signal(), Signal(), Signal(), Signal()
        of_block, of_sub, of_strip = last_tiles(
            cfg, job.dest, tile=tile, last_block=block == last_block_of, sub=sub
        )
        last_strip = strip == last_strip_of
        m.d.sync += [
            end_block.eq(of_block),
            end_sub.eq(of_sub),
            end_strip.eq(of_strip),
            last.eq(last_strip),
        ]

        # Looked up for the bank that is next.
        used, other_used = (self.banks_used.bit_select(place, 1) for place in (bank, ~bank))
        m.d.sync += has_bank.eq(Mux(issue, ~(end_strip & other_used), ~(first_of_strip & used)))

        info = Signal(strip_info(cfg))
        m.d.comb += [
            info.job.eq(job),
            info.section.eq(section),
            info.section_strip.eq(section_strip),
            info.head.eq(section_head),
            info.block.eq(head_block),
            info.last.eq(last_strip),
            info.last_row.eq(last_row_of),
            info.last_head.eq(last_head_of),
        ]
        m.d.comb += self.strip.eq(info)
        # A strip's place is told when it begins; there is time to find the next one until that is
        # loaded.
        with m.If(steps != 0):
            m.d.sync += steps.eq(steps - 1)
        with m.If(can_start & first_of_strip):
            m.d.comb += self.begins.eq(Mux(bank, 2, 1))
            m.d.sync += steps.eq(Mux(is_attention(job.dest), 1, cfg.groups))
        with m.If(steps != 0):
            self._next_section(
                m, job, last_strips, section, section_strip, section_head, head_block
            )

        with m.If(issue):
            m.d.sync += [
                in_tile.eq(1),
                first_of_strip.eq(end_tile & end_strip),
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
                    with m.If(last):
                        m.d.sync += busy.eq(0)

        row = Signal(range(cfg.max_rows))
        m.d.comb += [
            row.eq(job.row0 + head_row),
            self.act_block.eq(source + block),
            self.act_row.eq(row),
            self.prob_row.eq(Mux(job.half, cfg.max_rows // 2, 0) + index),
            self.prob_block.eq(block),
            self.part.eq(tile >> exact_log2(cfg.feed_len // cfg.rows)),
            self.value_half.eq(job.value_bank[0]),
            self.value_block.eq(strip),
            self.value_pos_block.eq(job.first_block + block),
            self.value_max_row.eq(job.value_bank * (cfg.max_rows // 2) + head_row),
        ]

        # Stage 1: the memories' data; of words of attention the tile's elements.
        tags = [Signal(feed_tag(cfg), name=f"feed_tag_{n}") for n in range(FEED_LATENCY)]
        picks, picks_2 = Signal.like(tile, name="pick_tile"), Signal.like(tile, name="pick_tile_2")
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
        block_acts = Signal(self.act.q.shape(), reset_less=True)
        act = Signal(data.ArrayLayout(signed(ACT_WIDTH), count), reset_less=True)
        probs = [
            Signal(data.ArrayLayout(unsigned(PROB_WIDTH), count), name=f"prob_{n}", reset_less=True)
            for n in range(2)
        ]
        exponents = data.ArrayLayout(unsigned(EXP_WIDTH), count)
        exps = Signal(exponents, reset_less=True)
        largest = Signal(unsigned(EXP_WIDTH), reset_less=True)
        drop = Signal(exponents, reset_less=True)
        values_2, low_2 = Signal(), Signal()
        values_3, low_3 = Signal(), Signal()
        m.d.sync += [
            tags[1].eq(tags[0]),
            picks_2.eq(picks),
            values_2.eq(values),
            low_2.eq(low),
            largest.eq(self.value_max),
        ]
        with m.If(~values):
            m.d.sync += tags[1].shift.eq(self.act.exp)
        m.d.sync += block_acts.eq(self.act.q)
        with m.Switch(picks):
            for number in range(cfg.tiles_per_block):
                with m.Case(number):
                    for lane in range(count):
                        place = (number * count + lane) % cfg.feed_len
                        m.d.sync += [
                            probs[0][lane].eq(self.prob[place]),
                            exps[lane].eq(self.value_exp[place]),
                        ]

        # Stage 2: the tile's part of the activations; how far below the largest each exponent of V
        # is.
        with m.Switch(picks_2):
            for number in range(cfg.tiles_per_block):
                with m.Case(number):
                    for lane in range(count):
                        m.d.sync += act[lane].eq(block_acts[number * count + lane])
        m.d.sync += [
            tags[2].eq(tags[1]),
            values_3.eq(values_2),
            low_3.eq(low_2),
            probs[1].eq(probs[0]),
            *(drop[lane].eq(largest - exps[lane]) for lane in range(count)),
        ]

        # Stage 3: the exponent of V folded into p, then the plane of the result.
        prob = probs[1]
        fed = Signal(data.ArrayLayout(signed(ACT_WIDTH), count), reset_less=True)
        m.d.sync += tags[3].eq(tags[2])
        for lane in range(count):
            rounded = Signal(PROB_WIDTH, name=f"prob_rounded_{lane}")
            m.d.comb += rounded.eq(round_shift(prob[lane], drop[lane]))
            with m.If(values_3):
                half = PROB_PLANE_SHIFT
                m.d.sync += fed[lane].eq(
                    Mux(low_3, rounded[:half], rounded[half : 2 * half]),
                )
            with m.Else():
                m.d.sync += fed[lane].eq(act[lane])

        m.d.comb += [self.tag.eq(tags[3]), self.fed.eq(fed)]
        return m

    def _next_section(self, m, job, last_strips, section, section_strip, section_head, head_block):
        """Advance the place of a strip among the outputs: section, strip in it, head, block."""
        m.d.sync += [section_strip.eq(section_strip + 1), head_block.eq(head_block + 1)]
        with m.If((job.dest == Dest.GLU) & (job.strips1 != 0)):
            # Strips alternate: gate, up. Both have the same strip number.
            m.d.sync += [section.eq(section ^ 1), section_strip.eq(section_strip + section[0])]
        with m.Elif(job.dest == Dest.QKV):
            with m.If(head_block == job.head_blocks - 1):
                m.d.sync += [head_block.eq(0), section_head.eq(section_head + 1)]
            with m.If(section_strip == Array([*last_strips, last_strips[-1]])[section]):
                m.d.sync += [
                    section.eq(section + 1),
                    section_strip.eq(0),
                    section_head.eq(0),
                    head_block.eq(0),
                ]
