"""Predicts how many cycles a pass takes, from the structure of the hardware."""

from dataclasses import dataclass
from math import ceil

from hw.accumulator import Accumulator
from hw.block_quantiser import BlockQuantiser
from hw.drain import Drain
from hw.embedding import Embedding
from hw.glu import Glu
from hw.inverse_root import InverseRoot
from hw.memory_controller import MemoryController
from hw.qkv_projection import QkvProjection
from hw.reciprocal import Reciprocal
from hw.residual import Residual
from hw.result_path import ResultPath
from hw.rmsnorm import RmsNorm
from hw.row_feeder import FEED_LATENCY
from hw.sequencer import Sequencer
from hw.softmax import Softmax
from hw.spec import layout
from hw.spec.formats import BLOCK_LEN
from hw.spec.isa import WORD_BYTES
from hw.spec.requests import EVENT_BYTES
from hw.systolic_array import SystolicArray
from sim.perf.stream_model import Dram, StreamModel

__all__ = ["CycleModel", "Prediction"]

_TAKE = 1  # from the end of an operator to the first cycle in which the next one runs
_STARTED = {"linear": 0, "end": 0}  # from there to the start of its unit: 1, but for these
_SEEN = 2  # from the end of an operator's units to where the sequencer sees it
_DESCRIPTOR = 3  # cycles from one descriptor of a unit to the next
_TABLE_DESCRIPTOR = 5  # ... of `RowTables`
_KEY_WORDS = BLOCK_LEN + 1
_WRITE_CYCLES = 7  # from a single write to the next: the writer waits for the burst to begin
_PLACE_CYCLES = 6  # `KvWriter`: from a block to its first write
_KEY_CYCLES = _KEY_WORDS + _PLACE_CYCLES + _WRITE_CYCLES - 1  # a block of K
_REQUEST = 50  # besides two fetches: page table and prompt before the first pass
_FIRST_STEP = 6  # `AttentionOrder`: from the start of an attention operator


@dataclass(frozen=True)
class Prediction:
    """Cycles of a pass, and of each of its operators by name, in order."""

    cycles: float
    operators: dict


class CycleModel:
    """A chip of a configuration with a memory: everything that takes time in it.

    A pass is followed operator by operator, and an attention operator step by step. Of each only
    the slower of two counts: what the stream gives (`StreamModel`), and what array, accumulators
    and the way of the results take. Of several tiles the first is followed: none has more to do.

    Parameters
    ----------
    config : ArchConfig
    dram : Dram
        The memory's timing; by default that of `sim/harness/axi_dram.cpp`.
    """

    def __init__(self, config, dram=None):
        self.config = config
        self.dram = dram or Dram()
        cfg = config
        log_lanes = cfg.lanes.bit_length() - 1
        # `RmsNorm.search_cycles`, `Softmax.row_cycles`
        self._search = RmsNorm.SEARCH_STAGES + log_lanes + InverseRoot.LATENCY
        self._softmax_row = Softmax.LATENCY + log_lanes + 2 + Reciprocal.LATENCY
        # `BlockQuantiser.latency`, and the write
        self._quantised = quantised = cfg.beats + BlockQuantiser.STAGES + 1
        # From a row's entry into the feeder to its first beat out of the requantiser ...
        array = SystolicArray.latency_of(cfg.rows, cfg.cols, cfg.pe_registers)
        self._to_drain = FEED_LATENCY + array + Accumulator.LATENCY + Drain.LATENCY
        # ... and from its last beat to rest.
        self._to_rest = {
            "residual": ResultPath.ENTRY + Residual.LATENCY + 1,
            "qkv": ResultPath.ENTRY + QkvProjection.LATENCY + quantised,
            "glu": ResultPath.ENTRY + Glu.LATENCY + quantised,
            "logits": ResultPath.ENTRY + log_lanes + 4,
            "scores": log_lanes + 5,
            "values": ResultPath.ENTRY + quantised,
        }

    def run(self, shape, steps, passes):
        """Return the `Prediction` list of the passes of one request.

        The request's own cycles belong to its first pass, those of the token's report to each.

        Parameters
        ----------
        shape : ModelShape
        steps : list of Operation
            From `operations`.
        passes : list
            Each the segments of a pass: a list of (rows, position of the first).
        """
        found = []
        for index, segments in enumerate(passes):
            run = _Pass(self, shape, segments)
            begin = _REQUEST + 2 * self.dram.latency if index == 0 else 0
            operators = run.run(steps)
            found.append(Prediction(begin + run.now + len(segments) * self._report(), operators))
        return found

    def predict(self, shape, steps, segments):
        """Return the `Prediction` of one pass in the midst of a run."""
        run = _Pass(self, shape, segments)
        operators = run.run(steps)
        return Prediction(run.now + len(segments) * self._report(), operators)

    def _report(self):
        """Cycles of a sequence between two passes: a token is chosen, an event is written."""
        return 40 + max(1, EVENT_BYTES // self.config.port_bytes)

    def norm_cycles(self, rows, beats):
        """Cycles from the first row's job to the last result."""
        period = max(2 * beats, beats + self._search)
        return (rows - 1) * period + 2 * beats + self._search + RmsNorm.EMIT_STAGES

    def softmax_cycles(self, rows, pos_blocks):
        """As `hw.scores.Scores.softmax_cycles`."""
        beats = pos_blocks * self.config.beats
        return (rows - 1) * max(beats, Softmax.ROW_CYCLES) + beats + self._softmax_row + 4


class _Pass:
    """The state of one pass: the clock, and the stream that runs ahead of it."""

    def __init__(self, model, shape, segments):
        self.model = model
        self.config = model.config
        self.shape = shape
        self.segments = segments
        self.rows = sum(rows for rows, _ in segments)
        if not 1 <= self.rows <= model.config.max_rows:
            raise ValueError(
                f"the segments must have 1 to {model.config.max_rows} rows, not {self.rows}"
            )
        self.stream = StreamModel(model.config, model.dram)
        self.now = 0.0  # cycle in which the last operator ended
        self._issued = 0.0  # when the running operator's stream was asked for

    def run(self, steps):
        """Run the operators; return their cycles by name."""
        cycles = {}
        word = self._word_cycles()
        taken = word  # the sequencer has it ahead of the one that runs
        self._issued = taken + 2 + Sequencer.CHECK_CYCLES
        for step in steps:
            start = max(self.now + _TAKE, taken + 3 + Sequencer.CHECK_CYCLES)
            started = start + _STARTED.get(step.kind, 1)
            self.now = getattr(self, f"_{step.kind}")(step, started)
            if step.kind != "end":
                self.now += _SEEN
            cycles[step.name] = self.now - start
            # While it runs the next word is taken, whose stream follows that of this one.
            taken = max(start + 1, taken + word)
            dynamic = step.kind in ("embed", "rope", "attention")
            checked = taken + 2 + Sequencer.CHECK_CYCLES
            self._issued = max(checked, self.stream.asked if dynamic else 0)
        return cycles

    def _word_cycles(self):
        """Cycles from asking for an operator word to its offer."""
        beats = max(1, WORD_BYTES // self.config.port_bytes)
        return MemoryController.LATENCY + self.model.dram.latency + max(beats, WORD_BYTES // 4) + 7

    # Operators: each takes its step and the cycle it starts in, and returns that of its end.

    def _end(self, step, start):
        return start + 1

    def _embed(self, step, start):
        entries = ceil(step.words(self.config) * self.config.cols / self.config.entry_bytes)
        # An entry holds two beats, and the next is joined while the second leaves.
        ratio = self.config.entry_bytes / self.config.cols
        tail = Embedding.LATENCY + Residual.LATENCY + 2
        return self._table(step, start, ratio + (entries - 1) * max(2, ratio + 1), tail)

    def _rope(self, step, start):
        entries = ceil(step.words(self.config) * self.config.cols / self.config.entry_bytes)
        return self._table(step, start, entries, 4)

    def _table(self, step, start, period, tail):
        """Take a table row for each row of the pass, ``period`` cycles each."""
        words = step.words(self.config)
        period = max(period, words, _TABLE_DESCRIPTOR)
        asked = start + _TABLE_DESCRIPTOR + self.model.dram.row_miss_cycles
        first, last = self.stream.take(asked, self.rows * words, start, period / words)
        self.stream.asked = start + _TABLE_DESCRIPTOR * self.rows
        return max(last, first + self.rows * period) + tail

    def _norm(self, step, start):
        beats = step.blocks * self.config.beats
        rows = len(self.segments) if step.emits else self.rows
        words = step.words(self.config)
        first, last = self.stream.take(self._issued, words, start, max(1, beats / words))
        loaded = max(last, first + beats)
        return loaded + 1 + self.model.norm_cycles(rows, beats) + self.model._quantised + 1

    def _head_norm(self, step, start):
        words = step.words(self.config)
        return self.stream.take(self._issued, words, start)[1] + 2

    def _linear(self, step, start):
        rows = len(self.segments) if step.emits else self.rows
        cfg = self.config
        header = layout.HEADER_BYTES * (3 if step.bias else 1) // cfg.strip_tiles // cfg.cols
        feed = max(cfg.rows, rows)
        tiles = step.blocks * cfg.tiles_per_block * cfg.own_subs
        # While a tile with many rows is fed, the next is loaded, and then the header behind it.
        change = max(feed, header + 2 * cfg.rows - feed)
        strip = (tiles - 1) * feed + change
        ways = self._ways(step, rows)
        # The groups of tiles compute a strip each, and all results leave one after the other.
        total = sum(
            count * max(strip, cfg.groups * way)
            for count, way in zip(step.sections, ways, strict=True)
        )
        total *= layout.channel_strips(cfg, step.strips, 0) / step.strips
        writes = 0
        if step.dest == "qkv":
            writes = rows * step.sections[1] * self._write_port_cycles()
        words = step.words(cfg)
        first, last = self.stream.take(
            self._issued, words, start + 2, total / words, taken_away=writes
        )
        fed = max(last, first + header + cfg.rows + total - change) + rows
        drained = fed + self.model._to_drain + cfg.groups * ways[-1]
        return drained + self.model._to_rest[step.dest]

    def _ways(self, step, rows):
        """Cycles that the results of a strip of each section take on their way."""
        cfg = self.config
        beats = rows * cfg.beats
        if step.dest != "qkv":
            return [beats] * len(step.sections)
        q = k = beats
        if step.normed:
            head = self.shape.head_dim // cfg.lanes
            row = max(2 * head, head + self.model._search)
            q = k = max(beats, rows * row * BLOCK_LEN / self.shape.head_dim)
        return [q, max(k, rows * _KEY_CYCLES), max(beats, rows * self._value_cycles())]

    def _value_cycles(self):
        """`KvWriter`: a block of V is an exponent and a word for each substrip."""
        return _PLACE_CYCLES + _WRITE_CYCLES * (1 + self.config.subs)

    def _write_port_cycles(self):
        """Cycles of the port that a block of K and one of V take from a busy stream."""
        cfg, turns = self.config, 2 * self.model.dram.turn_cycles
        beats = ceil(_KEY_WORDS * cfg.cols / cfg.port_bytes) + 1 + cfg.subs
        return beats + 2 * turns

    def _attention(self, step, start):
        """Steps in the order of `hw.attention_order`, each when the one before lets it."""
        run = _Attention(self, step, start)
        before = None
        for item in self._items(step.window):
            beside = before is not None and before.halved and item.halved
            if before is not None and not beside:
                run.values(before)
            if item.first_chunk:
                run.exponents(item)
            run.keys(item)
            if beside:
                run.values(before)
            before = item
        run.values(before)
        self.stream.asked = run.asked
        return run.drained + 1

    def _items(self, window):
        """Yield the chunks of query heads of all segments and of the first tile's KV heads."""
        most, group = self.config.max_rows, self.shape.group
        for rows, first in self.segments:
            chunks, heads = (1, group) if group * rows <= most else (group, 1)
            halved, before = heads * rows <= most // 2, self._blocks_before(window, first)
            for _ in range(layout.channel_heads(self.config, self.shape.kv_heads)):
                for chunk in range(chunks):
                    yield _Item(rows, first, before, heads * rows, chunk == 0, halved)

    def _blocks_before(self, window, first):
        """Blocks of positions that no row of a segment sees: as `hw.visible_span.VisibleSpan`."""
        span = max(BLOCK_LEN, self.config.align_bytes)
        unseen = max(0, first - window + 1) if window else 0
        return unseen // span * (span // BLOCK_LEN)


@dataclass
class _Item:
    """A chunk of query heads: rows of its segment, their first position, rows that are fed.

    ``before``: blocks of positions that no row sees.
    """

    rows: int
    first: int
    before: int
    fed: int
    first_chunk: bool
    halved: bool
    ready: float = 0.0  # when its probabilities are

    @property
    def pos_blocks(self):
        return ceil((self.first + self.rows) / BLOCK_LEN)

    @property
    def visited_blocks(self):
        return self.pos_blocks - self.before


class _Attention:
    """The clock of an attention operator: what array, softmax and drain do at the same time."""

    def __init__(self, run, step, start):
        self.config, self.model, self.stream = run.config, run.model, run.stream
        self.size = step.blocks
        self.sharing = min(run.config.tiles, run.shape.kv_heads)  # tiles whose results take turns
        self.asked = start + _FIRST_STEP
        self.free = start + _FIRST_STEP  # when the next step may take its first word
        self.softmax = self.drained = start

    def _ask(self, descriptors):
        """Return when the words of a step can have been asked for."""
        asked = self.asked + _DESCRIPTOR + 1
        self.asked += _DESCRIPTOR * descriptors + 1
        return asked

    def _pages(self, item, before=0):
        """Pages of a segment from that of a block of positions on."""
        page_len = self.config.page_len
        return ceil(item.pos_blocks * BLOCK_LEN / page_len) - before * BLOCK_LEN // page_len

    def exponents(self, item):
        words = item.pos_blocks * self.config.subs * self.size
        asked = self._ask(self.size * self._pages(item))
        _, last = self.stream.take(asked, words, self.free + 1)
        # `ValueExponents`: it begins, and finds the last maximum.
        tail = self.config.cols.bit_length() + 1
        self.free = last + self.size * item.rows + 2 + tail

    def keys(self, item):
        """Scores: positions are the strips."""
        cfg, fed = self.config, item.fed
        feed = max(cfg.rows, fed)
        block = (cfg.tiles_per_block - 1) * feed + max(feed, cfg.rows + 1)
        strip = max(cfg.subs * self.size * block, fed * cfg.beats)
        strips, pages = item.visited_blocks, self._pages(item, item.before)
        words = strips * cfg.subs * self.size * (BLOCK_LEN + 1)
        scores = self._job(pages, words, strips, strip, feed, fed) + fed * cfg.beats
        begins = max(self.softmax, scores + self.model._to_rest["scores"])
        item.ready = begins + 1 + self.model.softmax_cycles(fed, strips)
        self.softmax = item.ready

    def values(self, item):
        """P.V: each row goes in twice, elements of the head are the strips."""
        cfg, fed = self.config, item.fed
        feed = max(cfg.rows, 2 * fed)
        blocks, leave = item.visited_blocks, fed * cfg.beats * self.sharing
        strip = max(blocks * cfg.subs * cfg.tiles_per_block * feed, leave)
        words = blocks * BLOCK_LEN * cfg.subs * self.size
        descriptors = self._pages(item, item.before) * self.size * cfg.subs
        self.free = max(self.free, item.ready)
        results = self._job(descriptors, words, self.size, strip, feed, 2 * fed) + leave
        self.drained = results + self.model._to_rest["values"]

    def _job(self, descriptors, words, strips, strip, feed, rows):
        """Return when the first result of the last strip leaves the requantiser."""
        cfg, total = self.config, strips * strip
        asked = self._ask(descriptors)
        first, last = self.stream.take(asked, words, self.free + 1, total / words)
        self.free = max(last, first + cfg.rows + total - feed) + rows + 1
        return self.free + self.model._to_drain
