"""The results of all tiles: each once, and in the order that one tile would give."""

from amaranth.hdl import Cat
from amaranth.lib import data

from hw.jobs import result_label
from hw.result_merge import ResultMerge
from scripts.verify.formal_bench import Bench
from scripts.verify.formal_property import Bug, Property
from tests.formal.small import config

_FILE = "hw/result_merge.py"

#: Two groups of two tiles, each of which has two beats of a row of a strip.
_CHIP = {"cols": 16, "rows": 4, "lanes": 8, "port_bytes": 16, "tiles": 4, "act_blocks": 8}


def _merge(b, **arguments):
    cfg = config(**_CHIP)
    shape = data.StructLayout({"data": 4, "meta": result_label(cfg)})
    dut = b.drive(ResultMerge(cfg, shape), **arguments)
    return cfg, dut, dut.o.valid & dut.o.ready, [i.valid & i.ready for i in dut.i]


def passes():
    """In every cycle: what goes out is what comes in, of one tile."""
    b = Bench()
    _, dut, gives, takes = _merge(b)
    b.always(sum(takes) == gives, "one_in_for_one_out")
    for number, (i, takes_it) in enumerate(zip(dut.i, takes, strict=True)):
        b.always(~takes_it | (i.payload == dut.o.payload), f"gives_what_{number}_has")
        b.cover(takes_it & (dut.o.p.data != 0), f"of_{number}")
    return b


def linear():
    """Strips of any number of rows; each tile labels what it gives, as a lone tile would."""
    b = Bench()
    m = b.m
    cfg, dut, gives, takes = _merge(b, fix={"by_block": 0})
    own = cfg.own_beats
    b.assume(~dut.restart | ~Cat(i.valid for i in dut.i).any(), "nothing_comes_at_a_restart")
    last_row, drawn = b.register(2, "last_row"), b.free(2, "rows_drawn")
    b.assume(b.started | dut.restart, "begins_with_a_restart")
    with m.If(dut.restart):
        m.d.sync += last_row.eq(drawn)

    def follow(name, moves, beats, step, begin):
        """Return where a stream is: strip, row and beat, of which the next is on offer."""
        strip, row = b.register(4, f"{name}_strip", init=begin), b.register(2, f"{name}_row")
        beat = b.register(range(max(2, beats)), f"{name}_beat")
        with m.If(dut.restart):
            m.d.sync += [strip.eq(begin), row.eq(0), beat.eq(0)]
        with m.Elif(moves):
            m.d.sync += beat.eq(beat + 1)
            with m.If(beat == beats - 1):
                m.d.sync += [beat.eq(0), row.eq(row + 1)]
                with m.If(row == last_row):
                    m.d.sync += [row.eq(0), strip.eq(strip + step)]
        return strip, row, beat

    for number, (i, takes_it) in enumerate(zip(dut.i, takes, strict=True)):
        group, member = divmod(number, cfg.strip_tiles)
        strip, row, beat = follow(f"tile_{number}", takes_it, own, cfg.groups, group)
        label = i.p.meta
        ends = (row == last_row) & (beat == own - 1)
        place = (label.strip == strip) & (label.row == row) & (label.beat == member * own + beat)
        b.assume(~i.valid | (place & (label.strip_end == ends)), f"tile_{number}_labels")
    strip, row, beat = follow("all", gives, cfg.beats, 1, 0)
    label = dut.o.p.meta
    b.always(~dut.o.valid | (label.strip == strip), "strip_by_strip")
    b.always(~dut.o.valid | (label.row == row), "row_by_row")
    b.always(~dut.o.valid | (label.beat == beat), "beat_by_beat")
    b.cover(gives & (strip == 2) & (beat == 1), "a_third_strip")
    b.cover(gives & (row == 1) & (strip == 1), "a_second_row")
    b.cover(gives & (strip == 0) & b.past(dut.restart & (strip == 1), "restarts", 2), "another")
    return b


def attention():
    """Blocks stay whole, and a tile that has one waits for one of each other at most."""
    b = Bench()
    m = b.m
    cfg, dut, gives, takes = _merge(b, fix={"by_block": 1, "restart": 0})
    for number, (i, takes_it) in enumerate(zip(dut.i, takes, strict=True)):
        beat = b.register(range(cfg.beats), f"tile_{number}_beat")
        m.d.sync += beat.eq(beat + takes_it)
        b.assume(~i.valid | (i.p.meta.beat == beat), f"tile_{number}_labels")
        # Blocks that others begin while this one has one to begin.
        others = b.register(3, f"others_{number}")
        waits = i.valid & (beat == 0)
        begins = gives & (dut.o.p.meta.beat == 0)
        with m.If(~waits | takes_it):
            m.d.sync += others.eq(0)
        with m.Else():
            m.d.sync += others.eq(others + begins)
        b.always(others < cfg.tiles, f"tile_{number}_has_its_turn")
        b.cover((others == cfg.tiles - 1) & takes_it, f"tile_{number}_waited_for_all")
    beat = b.register(range(cfg.beats), "beat")
    m.d.sync += beat.eq(beat + gives)
    source = b.register(cfg.tiles, "source")
    with m.If(gives):
        m.d.sync += source.eq(Cat(takes))
    b.always(~dut.o.valid | (dut.o.p.meta.beat == beat), "beat_by_beat")
    b.always(~gives | (beat == 0) | (Cat(takes) == source), "a_block_is_of_one_tile")
    return b


PROPERTIES = [
    Property(
        name="result_merge.passes",
        says="for each result that goes out one tile's goes in, and it is the same",
        bench=passes,
        depth=2,
        cover=16,
        bugs=(
            Bug(what="two tiles are taken at once", file=_FILE,
                old="self.o.ready & (tile == number)", new="self.o.ready & (tile >= number)"),
        ),
    ),
    Property(
        name="result_merge.linear",
        says="results of a linear operator come strip by strip, row by row, beat by beat, whenever "
        "which tile has some",
        bench=linear,
        depth=24,
        induction=False,
        cover=20,
        bugs=(
            Bug(what="a group's strip ends with its first row", file=_FILE,
                old="with m.If(meta.strip_end):", new="with m.If(1):"),
            Bug(what="a row ends with its first member", file=_FILE,
                old="member == cfg.strip_tiles - 1", new="member == cfg.strip_tiles - 2"),
            Bug(what="an operator begins where the last one ended", file=_FILE,
                old="[turn.eq(0), member.eq(0), own_beat.eq(0)]",
                new="[member.eq(0), own_beat.eq(0)]"),
        ),
    ),
    Property(
        name="result_merge.attention",
        says="blocks of attention stay whole, and a tile that has one waits for one block of each "
        "other tile at most",
        bench=attention,
        depth=24,
        induction=False,
        cover=26,
        bugs=(
            Bug(what="a tile is left within its block", file=_FILE,
                old="inside.eq(~(moves & (meta.beat == cfg.beats - 1)))", new="inside.eq(~moves)"),
            Bug(what="the same tile goes on", file=_FILE,
                old="number = (last + 1 + step) % count", new="number = (last + step) % count"),
        ),
    ),
]  # fmt: skip
