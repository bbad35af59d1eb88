"""Brings the results of several tiles into the order of one."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["ResultMerge"]


class ResultMerge(wiring.Component):
    """Join the results of all tiles to one stream.

    Beats of a linear operator come in the order that a single tile would give: strip by strip, row
    by row, beat by beat. Results of attention come in whole blocks of ``beats`` beats, of a tile
    after the other as they have some.

    Parameters
    ----------
    config : ArchConfig
    shape : ShapeLike
        Shape of a result, with the field ``meta`` of `hw.jobs.result_label`.

    Members
    -------
    i : In(stream.Signature(shape)).array(config.tiles)
        Results of each tile.
    o : Out(stream.Signature(shape))
        Results of all.
    by_block : In(1)
        They are of attention. Must not change while there are results.
    restart : In(1)
        A linear operator begins: the next result is of its first strip.

    Timing
    ------
    A result passes in the cycle in which it comes; one of several waits. All paths are
    combinational.
    """

    def __init__(self, config, shape):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(shape)).array(config.tiles),
            "o": Out(stream.Signature(shape)),
            "by_block": In(1),
            "restart": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        meta = self.o.p.meta
        tile = Signal(range(cfg.tiles))  # whose result is on offer
        turn = Signal.like(tile)  # of a linear operator
        current = Signal.like(tile)  # that gave the last block, or is giving one
        inside = Signal()  # a block is on offer, or part of it is taken
        own_beat = Signal(range(max(2, cfg.own_beats)))
        member = Signal(range(cfg.strip_tiles))
        moves = Signal()
        m.d.comb += [
            tile.eq(Mux(self.by_block, Mux(inside, current, self._next(m, current)), turn)),
            self.o.valid.eq(Array(i.valid for i in self.i)[tile]),
            self.o.payload.eq(Array(i.payload for i in self.i)[tile]),
            moves.eq(self.o.valid & self.o.ready),
        ]
        for number, i in enumerate(self.i):
            m.d.comb += i.ready.eq(self.o.ready & (tile == number))

        with m.If(self.restart):
            m.d.sync += [turn.eq(0), member.eq(0), own_beat.eq(0)]
        with m.Elif(self.by_block & self.o.valid):
            m.d.sync += [current.eq(tile), inside.eq(~(moves & (meta.beat == cfg.beats - 1)))]
        with m.Elif(moves):
            m.d.sync += own_beat.eq(own_beat + 1)
            with m.If(own_beat == cfg.own_beats - 1):
                m.d.sync += [own_beat.eq(0), member.eq(member + 1), turn.eq(turn + 1)]
                with m.If(member == cfg.strip_tiles - 1):
                    # The next row; after the last, the next group's strip.
                    m.d.sync += [member.eq(0), turn.eq(turn - (cfg.strip_tiles - 1))]
                    with m.If(meta.strip_end):
                        m.d.sync += turn.eq(Mux(turn == cfg.tiles - 1, 0, turn + 1))
        return m

    def _next(self, m, current):
        """Return the tile, after the current one, that has a block first in turn."""
        count = self.config.tiles
        valid = Cat(i.valid for i in self.i)
        chosen = Signal.like(current)
        with m.Switch(current):
            for last in range(count):
                with m.Case(last):
                    for step in reversed(range(count)):
                        number = (last + 1 + step) % count
                        with m.If(valid[number]):
                            m.d.comb += chosen.eq(number)
        return chosen
