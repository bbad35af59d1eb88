"""The rows of a pass: whose they are, and which of them give a token."""

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from .jobs import draw_layout, row_place, sampling_layout, segment_layout

__all__ = ["PassRows", "pass_reads", "pass_writes"]


def pass_reads(config):
    """Return the members by which units read the rows of a pass; see `PassRows`."""
    row, slot = range(config.max_rows), range(config.max_seqs)
    seqs = range(config.max_seqs + 1)
    indices = data.ArrayLayout(slot, config.tiles)
    segments = data.ArrayLayout(segment_layout(config), config.tiles)
    return {
        "rows": Out(range(config.max_rows + 1)),
        "emits": Out(seqs),
        "segments": Out(seqs),
        "row": In(row),
        "place": Out(row_place(config)),
        "token": Out(32),
        "append_row": In(row),
        "append_place": Out(row_place(config)),
        "segment_index": In(indices),
        "segment": Out(segments),
        "stream_index": In(indices),
        "stream_segment": Out(segments),
        "emit_index": In(slot),
        "emit_row": Out(row),
        "draw_index": In(slot),
        "draw": Out(draw_layout(config)),
    }


def pass_writes(config):
    """Return the members by which a pass is made; see `PassRows`."""
    rows = range(config.max_rows + 1)
    return {
        "clear": In(1),
        "slot": In(range(config.max_seqs)),
        "first_pos": In(range(config.max_context)),
        "put": In(1),
        "number": In(rows),
        "new_token": In(32),
        "join": In(1),
        "count": In(rows),
        "emit": In(1),
        "sampling": In(sampling_layout(config)),
    }


class PassRows(wiring.Component):
    """Hold the rows of a pass, and its segments: the rows of a sequence, which lie together.

    Parameters
    ----------
    config : ArchConfig

    Members
    -------
    clear : In(1)
        Begin a pass without rows.
    slot, first_pos : In
        Sequence of the segment that is made, and position of its first row.
    put, number, new_token : In
        Store row ``number`` of this segment.
    join, count, emit, sampling : In
        Add the segment's ``count`` rows, all of which were put, to the pass; with ``emit`` the last
        of them is to give a token, drawn as ``sampling`` says. Rows that were put and do not join
        are forgotten.
    rows, emits : Out
        Rows of the pass, and how many of them are to give a token.
    segments : Out
        Segments of the pass.
    row, place, token : In, Out(row_place), Out(32)
        Slot and position of a row, and its token.
    append_row, append_place : In, Out(row_place)
        A second port for places.
    segment_index, segment, stream_index, stream_segment : In, Out(segment_layout) of each tile
        A segment, for each tile's attention and for its reader of the cache.
    done_index, done_segment : In, Out(segment_layout)
        A segment, for the scheduler.
    emit_index, emit_row : In, Out
        Row that gives the ``emit_index``-th token.
    draw_index, draw : In, Out(draw_layout)
        How the ``draw_index``-th token is drawn.

    Timing
    ------
    What is read comes one cycle after its number, and one cycle after it was written at the
    earliest.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({
            **pass_writes(config),
            **pass_reads(config),
            "done_index": In(range(config.max_seqs)),
            "done_segment": Out(segment_layout(config)),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        seqs = max(2, cfg.max_seqs)
        row = Signal(range(2 * cfg.max_rows))

        def store(name, shape, depth, *readers):
            m.submodules[name] = words = memory.Memory(shape=shape, depth=depth, init=[])
            for addr, value in readers:
                read = words.read_port()
                m.d.comb += [read.addr.eq(addr), value.eq(read.data)]
            return words.write_port()

        place = store(
            "places",
            row_place(cfg),
            cfg.max_rows,
            (self.row, self.place),
            (self.append_row, self.append_place),
        )
        token = store("tokens", unsigned(32), cfg.max_rows, (self.row, self.token))
        tiles = range(cfg.tiles)
        segment = store(
            "pass_segments",
            segment_layout(cfg),
            seqs,
            *((self.segment_index[tile], self.segment[tile]) for tile in tiles),
            *((self.stream_index[tile], self.stream_segment[tile]) for tile in tiles),
            (self.done_index, self.done_segment),
        )
        emitting = store("emit_rows", range(cfg.max_rows), seqs, (self.emit_index, self.emit_row))
        draw = store("draws", draw_layout(cfg), seqs, (self.draw_index, self.draw))
        m.d.comb += [
            row.eq(self.rows + self.number),
            place.en.eq(self.put),
            place.addr.eq(row),
            place.data.slot.eq(self.slot),
            place.data.position.eq(self.first_pos + self.number),
            token.en.eq(self.put),
            token.addr.eq(row),
            token.data.eq(self.new_token),
            segment.en.eq(self.join),
            segment.addr.eq(self.segments),
            segment.data.slot.eq(self.slot),
            segment.data.row0.eq(self.rows),
            segment.data.rows.eq(self.count),
            segment.data.first_pos.eq(self.first_pos),
            segment.data.emit.eq(self.emit),
            emitting.en.eq(self.join & self.emit),
            emitting.addr.eq(self.emits),
            emitting.data.eq(self.rows + self.count - 1),
            draw.en.eq(self.join & self.emit),
            draw.addr.eq(self.emits),
            draw.data.sampling.eq(self.sampling),
            draw.data.position.eq(self.first_pos + self.count),
        ]
        with m.If(self.clear):
            m.d.sync += [self.rows.eq(0), self.segments.eq(0), self.emits.eq(0)]
        with m.Elif(self.join):
            m.d.sync += [
                self.rows.eq(self.rows + self.count),
                self.segments.eq(self.segments + 1),
                self.emits.eq(self.emits + self.emit),
            ]
        return m
