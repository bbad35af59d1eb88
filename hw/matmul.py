"""The matrix unit: weights in, rows through the systolic array, exact sums out."""

from amaranth.hdl import Array, Module, Mux, Signal, signed
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2

from .accumulator import Accumulator
from .jobs import matmul_job
from .row_feeder import FEED_LATENCY, RowFeeder, feed_ports, feed_tag, strip_info
from .spec.formats import ACC_WIDTH
from .systolic_array import SystolicArray
from .weight_loader import WeightLoader

__all__ = ["Matmul"]

#: Tiles that can be inside the array at once, at most.
_TILES_IN_FLIGHT = 16


class Matmul(wiring.Component):
    """Run matrix jobs: stream weight tiles through the array, leave exact sums in accumulators.

    Computes ``sim.golden.matmul.dot`` for every row of the job and every channel of a strip, or
    of the tile's part of it.
    Words of the stream come in the order of `hw.spec.layout`. While one strip's sums are drained,
    the next is computed.

    Parameters
    ----------
    config : ArchConfig
    group : int
        See `RowFeeder`.

    Members
    -------
    i_job : In(stream of matmul_job)
        A job; what its rows read must be complete when it is offered. Taken a cycle after the job
        before has fed its last row; its results may still be on their way. ``ready`` comes from a
        register.
    i_words : In(stream of cols bytes)
        The weight stream.
    o_table : Out(stream of cols bytes)
        Header words of a strip: multipliers and biases.
    act_* : read port of the activation memory: 32 elements and their exponent, one cycle later.
    prob_*, value_* : read ports for P.V: probabilities of row ``prob_row``, of ``part`` of a block,
        the exponents of the same positions, and the running maximum of row ``value_max_row``. See
        `ValueExponents`.
    strip_valid, strip, strip_bank : Out
        A strip of sums waits in bank ``strip_bank``. From registers; low for a cycle after
        ``strip_done``.
    strip_done : In(1)
        The strip on offer has been read.
    header_bank, header_bias : Out(1)
        Bank of the header that ``o_table`` is filling; whether it holds biases.
    sum_en, sum_addr, sum : read port of the accumulators: ``cols`` sums, one cycle later.
        ``sum_addr`` = row * subs + substrip.
    busy, taking, feeding, starved, stalled, loading : Out(1)
        A job is inside; its words or rows are still being taken; a row enters the array; rows wait
        for weights; rows and weights wait for a bank of sums; a weight word is taken.

    Timing
    ------
    With words always there, a tile takes the larger of ``config.rows`` and the job's rows (twice
    that for P.V) in cycles, without bubbles between tiles and strips.
    """

    def __init__(self, config, *, group=0):
        self.config = config
        self.group = group
        self.word = data.ArrayLayout(signed(8), config.cols)
        super().__init__({
            "i_job": In(stream.Signature(matmul_job(config))),
            "i_words": In(stream.Signature(self.word)),
            "o_table": Out(stream.Signature(self.word)),
            **feed_ports(config),
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
            "taking": Out(1),
            "feeding": Out(1),
            "starved": Out(1),
            "stalled": Out(1),
            "loading": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        m.submodules.loader = loader = WeightLoader(cfg, delay=FEED_LATENCY)
        m.submodules.feeder = feeder = RowFeeder(cfg, group=self.group)
        m.submodules.array = array = SystolicArray(
            rows=cfg.rows, cols=cfg.cols, registers=cfg.pe_registers
        )
        m.submodules.acc = acc = Accumulator(cols=cfg.cols, depth=cfg.max_rows * cfg.subs)
        connect(m, flipped(self.i_job), loader.i_job)
        connect(m, flipped(self.i_words), loader.i_words)
        connect(m, loader.o_table, flipped(self.o_table))
        for name, member in feed_ports(cfg).items():
            ours, inner = getattr(self, name), getattr(feeder, name)
            m.d.comb += ours.eq(inner) if member.flow is Out else inner.eq(ours)
        m.d.comb += [
            loader.feeder_busy.eq(feeder.busy),
            loader.tile_start.eq(feeder.tile_start),
            feeder.tile_ready.eq(loader.tile_ready),
            feeder.job.eq(loader.job),
            feeder.loading.eq(loader.busy),
            array.weight_valid.eq(loader.weight_valid),
            array.weight_row.eq(loader.weight_row),
            array.weight.eq(loader.weight),
            array.act_valid.eq(feeder.tag.valid),
            array.act_swap.eq(feeder.tag.swap),
            array.act.eq(feeder.fed),
            self.header_bank.eq(loader.header_bank),
            self.header_bias.eq(loader.header_bias),
            self.feeding.eq(feeder.feeding),
            self.starved.eq(feeder.starved),
            self.stalled.eq(feeder.stalled),
            self.loading.eq(loader.taken),
        ]
        fills = self._collect(m, loader, feeder, array, acc)
        used = self._banks(m, loader, feeder, acc, fills)
        m.d.comb += [
            self.taking.eq(loader.busy | feeder.busy),
            self.busy.eq(self.taking | used.any()),
        ]
        return m

    def _banks(self, m, loader, feeder, acc, fills):
        """Each bank of sums is free, filling, or full until it is drained; return those not free.

        A header is in use from its first word until its strip is drained.
        """
        filling, full, header_used = Signal(2), Signal(2), Signal(2)
        drops = Signal(2)
        read_bank = Signal()
        # What is known of a strip reaches its bank by way of a register: there is time.
        strips = [Signal(strip_info(self.config), name=f"strip_{n}") for n in range(2)]
        begun, begun_strip = Signal(2), Signal(strip_info(self.config))
        m.d.sync += [begun.eq(feeder.begins), begun_strip.eq(feeder.strip)]
        for number, strip in enumerate(strips):
            with m.If(begun[number]):
                m.d.sync += strip.eq(begun_strip)
        with m.If(~self.strip_valid):
            m.d.sync += [
                self.strip_valid.eq(full.bit_select(read_bank, 1)),
                self.strip.eq(Array(strips)[read_bank]),
            ]
        with m.If(self.strip_done):
            m.d.sync += [self.strip_valid.eq(0), read_bank.eq(~read_bank)]
            m.d.comb += drops.eq(Mux(read_bank, 2, 1))
        m.d.sync += [
            full.eq((full & ~drops) | fills),
            filling.eq((filling & ~fills) | feeder.begins),
            header_used.eq((header_used & ~drops) | loader.header_takes),
        ]
        m.d.comb += [
            loader.header_used.eq(header_used),
            feeder.banks_used.eq(full | filling),
            self.strip_bank.eq(read_bank),
            acc.read_bank.eq(read_bank),
            acc.read_addr.eq(self.sum_addr),
            acc.read_en.eq(self.sum_en),
            self.sum.eq(acc.read_data),
        ]
        return full | filling

    def _collect(self, m, loader, feeder, array, acc):
        """Labels wait for their sums, sums go to the accumulators; return the banks completed."""
        cfg = self.config
        delayed = feeder.tag
        exponents = loader.exponents
        for number in range(array.latency):
            stage = Signal(feed_tag(cfg), name=f"sum_tag_{number}")
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
            write.en.eq(feeder.tile_start),
            read.addr.eq(read_index + delayed.swap),
        ]
        with m.If(feeder.tile_start):
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

        # A strip is complete when its last sum has gone through the accumulator, where its bank is
        # known to be full for a cycle and the strip is on offer in the next.
        done = Signal(2)
        m.d.comb += done.eq(Mux(delayed.valid & delayed.last, Mux(delayed.bank, 2, 1), 0))
        for number in range(acc.LATENCY - 2):
            stage = Signal(2, name=f"strip_done_{number}")
            m.d.sync += stage.eq(done)
            done = stage
        return done
