"""The chip without its bus: tiles, and the units that are there once, joined by streams.

Longer than 400 lines: it holds nothing but joints, and a joint is easiest to find where all are.
"""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from .activation_memory import ActivationMemory
from .burst_cutter import command_layout
from .csr import count_ranges
from .event_writer import EventWriter
from .fetcher import Fetcher
from .kv_writer import KvWriter
from .lib.fork import Fork
from .lib.slice import Slice
from .memory_controller import FETCH_BEATS_WIDTH, STREAM_BEATS_WIDTH
from .memory_writer import write_data_layout
from .norm_operator import NormOperator
from .operator_word import operator_layout
from .page_table import PageTable
from .probe import PROBES, probe_signature
from .program_fetch import ProgramFetch
from .residual import Residual
from .result_merge import ResultMerge
from .result_path import ResultPath
from .row_tables import RowTables
from .scheduler import Scheduler
from .sequencer import Sequencer
from .spec.csr import ARRAY_KINDS, ERRORS, OPERATOR_KINDS
from .spec.formats import BLOCK_LEN
from .spec.isa import DESTINATIONS, OPERATORS
from .tile import Tile
from .token_choice import TokenChoice

__all__ = ["Core"]

_CODE = {name: operator.opcode for name, operator in OPERATORS.items()}


class Core(wiring.Component):
    """Everything between the registers and the memory controller.

    Parameters
    ----------
    config : ArchConfig

    Members
    -------
    start, cancel : In(1)
        Run requests, or withdraw one, as the registers (inputs of the same names) say.
    o_stream, i_beat, o_write, o_wdata
        To the memory controller of each channel.
    o_fetch, i_fetched : to that of channel 0
    writes_pending : In(1)
        Some channel has writes that are not answered.
    event_event, finished, stalled, requests_taken, events_written
        See `Scheduler`, where ``event_event`` is ``token_event``.
    error, error_cause, error_addr : Out
        The request cannot go on: the core is to be reset.
    op_id : Out(16)
        Operator that runs.
    counts : Out
        What each counter of `hw.spec.csr` but those of :attr:`OUTSIDE` counts in this cycle.
    tile_counts : Out
        The same of each tile: `Tile`.
    trace : Out(probe_signature)
    running, kv_writing : Out(1)
        For the trace: an operator runs; keys and values are written.
    """

    REGISTERS = (*Scheduler.REGISTERS, "program_addr")
    #: Counters of what happens at the chip's ports.
    OUTSIDE = ("tokens", "read_beats", "write_beats", "prefetch_full")

    def __init__(self, config):
        self.config = config
        tiles = config.tiles
        self._tiles = [Tile(config, number=number) for number in range(tiles)]
        self._of_tiles = tuple(self._tiles[0].counts.signature.members)
        beat = stream.Signature(data.ArrayLayout(unsigned(8), config.port_bytes))
        short = stream.Signature(command_layout(FETCH_BEATS_WIDTH))
        super().__init__({
            "start": In(1),
            "cancel": In(1),
            **{name: In(32) for name in self.REGISTERS},
            "o_stream": Out(stream.Signature(command_layout(STREAM_BEATS_WIDTH))).array(tiles),
            "i_beat": In(beat).array(tiles),
            "o_fetch": Out(short),
            "i_fetched": In(beat),
            "o_write": Out(short).array(tiles),
            "o_wdata": Out(stream.Signature(write_data_layout(config.port_bytes))).array(tiles),
            "writes_pending": In(1),
            "event_event": Out(1),
            "finished": Out(1),
            "stalled": Out(1),
            "requests_taken": Out(32),
            "events_written": Out(32),
            "error": Out(1),
            "error_cause": Out(4),
            "error_addr": Out(32),
            "op_id": Out(16),
            "counts": Out(
                wiring.Signature({
                    name: Out(most)
                    for name, most in count_ranges(config).items()
                    if name not in self.OUTSIDE
                })
            ),
            "tile_counts": self._tiles[0].signature.members["counts"].array(tiles),
            "trace": Out(probe_signature(config)),
            "running": Out(1),
            "kv_writing": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        sizes = {"lanes": cfg.lanes, "max_rows": cfg.max_rows}
        units = m.submodules
        tiles = self._tiles
        for number, tile in enumerate(tiles):
            units[f"tile_{number}"] = tile
        units.merge = merge = ResultMerge(cfg, tiles[0].o_act.payload.shape())
        units.fetcher = fetcher = Fetcher(port_bytes=cfg.port_bytes)
        units.program = program = ProgramFetch()
        units.scheduler = scheduler = Scheduler(cfg)
        units.sequencer = sequencer = Sequencer(cfg)
        units.events = events = EventWriter(port_bytes=cfg.port_bytes)
        units.pages = pages = PageTable(cfg)
        units.kv_writer = kv_writer = KvWriter(cfg)
        units.row_tables = row_tables = RowTables(cfg)
        units.norm = norm = NormOperator(cfg)
        units.results = results = ResultPath(cfg)
        units.activations = activations = ActivationMemory(
            blocks=cfg.act_blocks, max_rows=cfg.max_rows, readers=cfg.tiles
        )
        units.residual = residual = Residual(max_dim=cfg.max_dim, **sizes)
        units.choice = choice = TokenChoice(cfg)

        word = sequencer.word
        views = {name: operator_layout(name)(word.as_value()) for name in OPERATORS}
        rows = scheduler.rows
        starts = {name: sequencer.start.bit_select(code, 1) for name, code in _CODE.items()}
        runs = {name: sequencer.kind.bit_select(code, 1) for name, code in _CODE.items()}
        # A cycle after the kind, as `start` is at the earliest.
        is_norm, is_rope = Signal(), Signal()
        m.d.sync += [is_norm.eq(runs["norm"] | runs["head_norm"]), is_rope.eq(runs["rope"])]

        # Requests and program.
        m.d.comb += [
            scheduler.start.eq(self.start),
            scheduler.cancel.eq(self.cancel),
            program.run.eq(scheduler.busy),
            program.program_addr.eq(self.program_addr),
            scheduler.writes_pending.eq(self.writes_pending),
            scheduler.pass_done.eq(sequencer.pass_done),
            sequencer.pass_start.eq(scheduler.pass_start),
            sequencer.emits.eq(scheduler.emits),
            sequencer.rows.eq(rows),
            sequencer.writes_pending.eq(self.writes_pending | kv_writer.busy),
            pages.write_en.eq(scheduler.table_en),
            pages.write_slot.eq(scheduler.table_slot),
            pages.write_index.eq(scheduler.table_index),
            pages.write.eq(scheduler.table_page),
            self.event_event.eq(scheduler.token_event),
            self.op_id.eq(word.op_id),
            self.running.eq(sequencer.running),
            self.kv_writing.eq(kv_writer.busy),
        ]
        for name in Scheduler.REGISTERS:
            m.d.comb += getattr(scheduler, name).eq(getattr(self, name))
        for name in ("finished", "stalled", "requests_taken", "events_written"):
            m.d.comb += getattr(self, name).eq(getattr(scheduler, name))
        connect(m, program.o_request, fetcher.i_program)
        connect(m, fetcher.o_program, program.i_word)
        connect(m, program.o_operator, sequencer.i_operator)
        connect(m, scheduler.o_fetch, fetcher.i_data)
        connect(m, fetcher.o_data, scheduler.i_word)
        connect(m, fetcher.o_fetch, flipped(self.o_fetch))
        connect(m, flipped(self.i_fetched), fetcher.i_beat)

        # Each tile has its stream and its jobs; embedding and rope ask tile 0 for theirs.
        units.descriptors = descriptors = Fork(sequencer.o_descriptor.payload.shape(), cfg.tiles)
        units.jobs = jobs = Fork(sequencer.o_job.payload.shape(), cfg.tiles)
        connect(m, sequencer.o_descriptor, descriptors.i)
        connect(m, sequencer.o_job, jobs.i)
        for number, tile in enumerate(tiles):
            static = descriptors.o[number]
            connect(m, tile.o_stream, flipped(self.o_stream[number]))
            connect(m, flipped(self.i_beat[number]), tile.i_beat)
            connect(m, jobs.o[number], tile.i_job)
            connect(m, tile.o_act, merge.i[number])
            m.d.comb += [
                tile.i_descriptor.valid.eq(static.valid),
                tile.i_descriptor.p.addr.eq(static.p.addr),
                tile.i_descriptor.p.words.eq(static.p.words[number]),
                static.ready.eq(tile.i_descriptor.ready),
                tile.is_linear.eq(runs["linear"]),
                tile.results_busy.eq(results.busy),
                activations.read_block[number].eq(tile.act_block),
                activations.read_row[number].eq(tile.act_row),
                tile.act.eq(activations.read[number]),
                tile.attention_start.eq(starts["attention"]),
                tile.attention.eq(word),
                tile.segments.eq(scheduler.segments),
                scheduler.segment_index[number].eq(tile.segment_index),
                tile.segment.eq(scheduler.segment[number]),
                scheduler.stream_index[number].eq(tile.stream_index),
                tile.stream_segment.eq(scheduler.stream_segment[number]),
                pages.read_slot[number].eq(tile.page_slot),
                pages.read_index[number].eq(tile.page_index),
                tile.page.eq(pages.read[number]),
            ]
        first = tiles[0]
        with m.If(row_tables.o_descriptor.valid):
            connect_stream(m, row_tables.o_descriptor, first.i_descriptor)
            m.d.comb += descriptors.o[0].ready.eq(0)

        # Tables.
        # Between the readiness of those who take entries and that of the tile.
        units.entries = entries = Slice(first.o_entry.payload.shape())
        connect(m, first.o_entry, entries.i)
        entry = entries.o
        m.d.comb += [
            first.table_start.eq(
                starts["embed"] | starts["rope"] | starts["norm"] | starts["head_norm"]
            ),
            first.table_words.eq(word.words),
            first.table_rows.eq(Mux(is_norm, 1, rows)),
            row_tables.start.eq(starts["embed"] | starts["rope"]),
            row_tables.is_rope.eq(is_rope),
            row_tables.word.eq(word),
            row_tables.rows.eq(rows),
            scheduler.row.eq(row_tables.row),
            row_tables.position.eq(scheduler.place.position),
            row_tables.token.eq(scheduler.token),
            norm.start.eq(starts["norm"] | starts["head_norm"]),
            norm.word.eq(word),
            norm.rows.eq(rows),
            norm.emits.eq(scheduler.emits),
            scheduler.emit_index.eq(norm.emit_index),
            norm.emit_row.eq(scheduler.emit_row),
            row_tables.i_entry.payload.eq(entry.payload),
            norm.i_entry.payload.eq(entry.payload),
        ]
        with m.If(is_norm):
            m.d.comb += [norm.i_entry.valid.eq(entry.valid), entry.ready.eq(norm.i_entry.ready)]
        with m.Else():
            m.d.comb += [
                row_tables.i_entry.valid.eq(entry.valid),
                entry.ready.eq(row_tables.i_entry.ready),
            ]

        # Residual: embedded rows, or sums of what operators add.
        connect(m, norm.o_norm, results.i_norm)
        connect(m, results.heads, norm.heads)
        write = residual.i_write
        with m.If(row_tables.o_residual.valid):
            connect_stream(m, row_tables.o_residual, write)
        with m.Else():
            connect_stream(m, results.o_residual, write)
        m.d.comb += [
            residual.read_en.eq(norm.residual_en),
            residual.read_row.eq(norm.residual_row),
            residual.read_beat.eq(norm.residual_beat),
            norm.residual.eq(residual.read_data),
            residual.orm_row.eq(norm.orm_row),
            norm.orm.eq(residual.orm),
        ]

        # Results. None is there in the cycle after the word changed.
        linear = views["linear"]
        m.d.sync += [
            results.gated.eq(linear.strips1 != 0),
            results.norm_dst.eq(views["norm"].dst),
            results.activation.eq(linear.activation),
            results.table_shift.eq(linear.table_shift),
            results.glu_shift.eq(linear.glu_shift),
            results.head_norm.eq(linear.head_norm),
            results.head_blocks.eq(linear.head_blocks),
        ]
        connect(m, merge.o, results.i_act)
        logits = results.o_logits
        label = logits.p.meta
        m.d.comb += [
            merge.by_block.eq(runs["attention"]),
            merge.restart.eq(jobs.i.valid & jobs.i.ready),
            activations.write_en.eq(results.block_en),
            activations.write_block.eq(results.block_dst),
            activations.write_row.eq(results.block_row),
            activations.write.eq(results.block),
            results.rope_en.eq(row_tables.table_en),
            results.rope_row.eq(row_tables.table_row),
            results.rope_addr.eq(row_tables.table_addr),
            results.rope.eq(row_tables.table_entry),
        ]

        # Tokens.
        m.d.comb += [
            choice.i_logits.valid.eq(logits.valid),
            logits.ready.eq(choice.i_logits.ready),
            choice.i_logits.p.data.eq(logits.p.data),
            choice.i_logits.p.row.eq(label.index),
            choice.i_logits.p.index.eq(
                (label.strip << exact_log2(BLOCK_LEN)) + (label.beat << exact_log2(cfg.lanes))
            ),
            choice.i_logits.p.first.eq((label.strip == 0) & (label.beat == 0)),
            choice.i_logits.p.valid_count.eq(views["linear"].valid),
            choice.start.eq(scheduler.choose),
            choice.emits.eq(scheduler.emits),
            scheduler.choosing.eq(choice.busy),
            scheduler.draw_index.eq(choice.draw_index),
            choice.draw.eq(scheduler.draw),
            choice.choice_index.eq(scheduler.choice_index),
            scheduler.choice.eq(choice.choice),
        ]

        # KV cache.
        connect(m, results.o_key_value, kv_writer.i_block)
        m.d.comb += [
            kv_writer.kv_offset.eq(linear.kv_offset),
            kv_writer.head_stride.eq(linear.head_stride),
            kv_writer.head_blocks.eq(linear.head_blocks),
            scheduler.append_row.eq(kv_writer.row),
            kv_writer.place.eq(scheduler.append_place),
            pages.append_slot.eq(kv_writer.page_slot),
            pages.append_index.eq(kv_writer.page_index),
            kv_writer.page.eq(pages.append),
        ]

        # Writes: one source at a time has any. Keys and values, then candidates, then events.
        for name in ("o_write", "o_wdata"):
            channels = getattr(self, name)
            of_cache, of_choice, of_events = (
                getattr(unit, name) for unit in (kv_writer, choice, events)
            )
            for number, channel in enumerate(channels):
                m.d.comb += [
                    channel.valid.eq(of_cache.valid & (kv_writer.channel == number)),
                    channel.payload.eq(of_cache.payload),
                ]
            chosen = Array(channel.ready for channel in channels)[kv_writer.channel]
            m.d.comb += of_cache.ready.eq(chosen)
            first_channel = channels[0]
            for source in (of_events, of_choice):
                m.d.comb += source.ready.eq(first_channel.ready)
                with m.If(source.valid):
                    m.d.comb += first_channel.valid.eq(1)
            with m.If(~kv_writer.busy):
                m.d.comb += first_channel.payload.eq(
                    Mux(of_choice.valid, of_choice.payload, of_events.payload)
                )
        cycles = Signal(64)
        with m.If(scheduler.busy):
            m.d.sync += cycles.eq(cycles + 1)
        connect(m, scheduler.o_event, events.i_event)
        m.d.comb += [events.addr.eq(scheduler.event_addr), events.cycles.eq(cycles)]

        # A register for each unit, as they lie far from each other.
        units_busy = (
            *(tile.busy for tile in tiles),
            results.busy,
            row_tables.busy,
            norm.busy,
            kv_writer.busy,
            residual.busy,
            choice.collecting,
        )
        units_issuing = (row_tables.issuing, *(tile.issuing for tile in tiles))
        busy, issuing = Signal(len(units_busy)), Signal(len(units_issuing))
        m.d.sync += [busy.eq(Cat(units_busy)), issuing.eq(Cat(units_issuing))]
        m.d.comb += [sequencer.busy.eq(busy.any()), sequencer.units_issuing.eq(issuing.any())]
        self._errors(m, scheduler, sequencer, row_tables)
        self._count_tiles(m)
        self._count_operators(m, sequencer, word)
        self._count_units(m, scheduler, sequencer, norm, row_tables, kv_writer, choice)
        self._trace(m, scheduler, word, results, residual, label)
        return m

    def _errors(self, m, scheduler, sequencer, row_tables):
        # A cycle late: what is told of an error holds until the core is reset.
        errors = [
            (scheduler.error, ERRORS["bad_request"], scheduler.error_addr),
            (sequencer.error, sequencer.error_cause, sequencer.error_addr),
            (row_tables.bad_token, ERRORS["bad_token"], row_tables.token),
            (row_tables.bad_position, ERRORS["too_long"], row_tables.position),
        ]
        found = Signal(len(errors))
        m.d.sync += found.eq(Cat(error for error, _, _ in errors))
        m.d.comb += self.error.eq(found.any())
        for bit, (_, cause, addr) in reversed(list(enumerate(errors))):
            with m.If(found[bit]):
                m.d.comb += [self.error_cause.eq(cause), self.error_addr.eq(addr)]

    def _count_tiles(self, m):
        for number, tile in enumerate(self._tiles):
            connect(m, tile.counts, flipped(self.tile_counts[number]))
        for name in self._of_tiles:
            values = [getattr(tile.counts, name) for tile in self._tiles]
            m.d.comb += getattr(self.counts, name).eq(sum(values))

    def _count_operators(self, m, sequencer, word):
        """Count for the kind of the operator that runs: nothing moves between two of them."""
        counts = self.counts
        dest = operator_layout("linear")(word.as_value()).dest
        for kind in OPERATOR_KINDS:
            runs = Signal(name=f"{kind}_runs")
            if kind in DESTINATIONS:
                now = sequencer.kind[_CODE["linear"]] & (dest == DESTINATIONS[kind])
            else:
                now = sequencer.kind[_CODE[kind]]
            m.d.comb += [
                runs.eq(sequencer.running & now),
                getattr(counts, f"op_{kind}_cycles").eq(runs),
                getattr(counts, f"op_{kind}_words").eq(Mux(runs, counts.stream_words, 0)),
            ]
            if kind in ARRAY_KINDS:
                rows = getattr(counts, f"op_{kind}_rows")
                m.d.comb += rows.eq(Mux(runs, counts.array_rows, 0))

    def _count_units(self, m, scheduler, sequencer, norm, row_tables, kv_writer, choice):
        def waits(*sources):
            return Cat(source.valid & ~source.ready for source in sources).any()

        in_pass = Signal()
        with m.If(scheduler.pass_start):
            m.d.sync += in_pass.eq(1)
        with m.Elif(sequencer.pass_done):
            m.d.sync += in_pass.eq(0)
        values = {
            "passes": scheduler.pass_start,
            "norm_busy": norm.busy,
            "norm_starved": norm.i_entry.ready & ~norm.i_entry.valid,
            "norm_stalled": waits(norm.o_norm),
            "tables_busy": row_tables.busy,
            "tables_starved": row_tables.starved,
            "tables_stalled": waits(row_tables.o_residual),
            "kv_writer_busy": kv_writer.busy,
            "kv_writer_stalled": waits(kv_writer.o_write, kv_writer.o_wdata),
            "choice_busy": choice.busy,
            "choice_stalled": waits(choice.o_write, choice.o_wdata),
            "scheduler_busy": scheduler.busy & ~in_pass & ~choice.busy,
            "scheduler_starved": scheduler.i_word.ready & ~scheduler.i_word.valid,
            "scheduler_stalled": scheduler.stalled,
        }
        # Those who count are far.
        for name, value in values.items():
            m.d.sync += getattr(self.counts, name).eq(value)

    def _trace(self, m, scheduler, word, results, residual, label):
        trace = self.trace
        m.d.comb += [
            trace.place.valid.eq(scheduler.placed),
            trace.place.row.eq(scheduler.placed_row),
            trace.place.data.eq(Cat(scheduler.placed_position, scheduler.placed_id)),
        ]
        block, key_value = results.block, results.o_key_value
        item = key_value.p
        logits = results.o_logits
        m.d.comb += [
            trace.block.valid.eq(results.block_en),
            trace.block.row.eq(results.block_row),
            trace.block.index.eq(results.block_dst),
            trace.block.data.eq(block),
            trace.residual.valid.eq(residual.trace_valid),
            trace.residual.row.eq(residual.trace_row),
            trace.residual.index.eq(residual.trace_beat),
            trace.residual.data.eq(residual.trace_data),
            trace.key_value.valid.eq(key_value.valid & key_value.ready),
            trace.key_value.row.eq(item.row),
            trace.key_value.index.eq(item.is_value << 12 | item.head << 4 | item.index),
            trace.key_value.data.eq(item.block),
            trace.logits.valid.eq(logits.valid & logits.ready),
            trace.logits.row.eq(label.index),
            trace.logits.index.eq((label.strip << exact_log2(self.config.beats)) + label.beat),
            trace.logits.data.eq(logits.p.data),
        ]
        for name in PROBES:
            m.d.comb += getattr(trace, name).op.eq(word.op_id)


def connect_stream(m, source, target):
    """Connect two streams inside a condition, which `connect` cannot."""
    m.d.comb += [
        target.valid.eq(source.valid),
        target.payload.eq(source.payload),
        source.ready.eq(target.ready),
    ]
