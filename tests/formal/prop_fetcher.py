"""The fetcher: every client gets the words that it asked for, and they are those of memory."""

from amaranth.hdl import Cat, Mux, Signal
from amaranth.utils import exact_log2

from hw.fetcher import Fetcher
from scripts.verify.formal_bench import Bench
from scripts.verify.formal_property import Bug, Property

_FILE = "hw/fetcher.py"

#: Width of counts of words: more than what can be on its way.
_COUNT = 10


def _memory(b, dut):
    """Answer commands, from a memory of which one word, any one, is known.

    Returns (its address in words, what it holds, beats that are still to come).
    """
    m = b.m
    fetch, beat = dut.o_fetch, dut.i_beat
    per_beat = dut.port_bytes // 4
    address, value = b.constant(30, "address"), b.constant(32, "value")
    owed, at = b.register(9, "owed"), b.register(30, "at")
    moves = beat.valid & beat.ready
    with m.If(fetch.valid & fetch.ready):
        m.d.sync += [owed.eq(fetch.p.beats), at.eq(fetch.p.addr >> 2)]
    with m.Elif(moves):
        m.d.sync += [owed.eq(owed - 1), at.eq(at + per_beat)]
    b.assume(~beat.valid | (owed != 0), "beats_are_owed")
    for lane in range(per_beat):
        word = Cat(beat.payload[4 * lane + byte] for byte in range(4))
        known = beat.valid & ((at + lane)[:30] == address)
        b.assume(~known | (word == value), f"lane_{lane}_is_of_memory")
    return address, value, owed


def words(port_bytes):
    """Of one request, any one, among others of both clients."""
    b = Bench()
    m = b.m
    dut = b.drive(Fetcher(port_bytes=port_bytes))
    per_beat, shift = port_bytes // 4, exact_log2(port_bytes)
    address, value, owed = _memory(b, dut)
    for name in ("program", "data"):
        request = getattr(dut, f"i_{name}")
        legal = (request.p.words != 0) & (request.p.addr[:2] == 0)
        b.assume(~request.valid | legal, f"{name}_asks_for_words")
    program, data = dut.i_program, dut.i_data
    takes_data, takes_program = data.valid & data.ready, program.valid & program.ready
    takes = takes_data | takes_program
    request = Signal(data.payload.shape())
    m.d.comb += request.eq(Mux(takes_data, data.p, program.p))
    b.always(~takes_program | ~data.valid, "data_goes_first")

    # One command for each request, of the beats that hold its words.
    now = b.register(data.payload.shape(), "now", init=None)
    waits = b.register(1, "waits")  # it has no command yet
    fetch = dut.o_fetch
    asks = fetch.valid & fetch.ready
    with m.If(takes):
        m.d.sync += [now.eq(request), waits.eq(1)]
    with m.Elif(asks):
        m.d.sync += waits.eq(0)
    skipped = (now.addr[:shift] >> 2) if per_beat > 1 else 0
    beats = fetch.p.beats
    b.always(fetch.valid == waits, "a_command_for_a_request")
    b.always(~fetch.valid | (fetch.p.addr == (now.addr >> shift) << shift), "begins_with_its_beat")
    b.always(~fetch.valid | (beats * per_beat >= now.words + skipped), "asks_for_all")
    b.always(~fetch.valid | ((beats - 1) * per_beat < now.words + skipped), "asks_for_no_more")
    b.always(~takes | (~waits & (owed == 0)), "one_request_after_the_other")

    # Words of the followed request: in their turn, of memory, and to who asked for them.
    promised, given = b.register(_COUNT, "promised"), b.register(_COUNT, "given")
    to_data = dut.o_data.valid & dut.o_data.ready
    to_program = dut.o_program.valid & dut.o_program.ready
    offers = dut.o_data.valid | dut.o_program.valid
    gives = to_data | to_program
    word = Mux(dut.o_data.valid, dut.o_data.payload, dut.o_program.payload)
    m.d.sync += [promised.eq(promised + Mux(takes, request.words, 0)), given.eq(given + gives)]
    left = (promised - given)[:_COUNT]
    b.always(~(dut.o_data.valid & dut.o_program.valid), "a_word_is_of_one_client")
    b.always(~offers | (left != 0), "makes_nothing_up")
    b.always(~data.ready | (left <= 2), "the_last_words_are_on_their_way")
    b.always(~data.ready | offers | (left == 0), "loses_nothing")
    marked, for_data = b.register(1, "marked"), b.register(1, "for_data")
    mark = b.register(data.payload.shape(), "mark", init=None)
    start = b.register(_COUNT, "start")
    with m.If(takes & ~marked & b.free(1, "chosen")):
        m.d.sync += [marked.eq(1), mark.eq(request), start.eq(promised), for_data.eq(takes_data)]
    place = (given - start)[:_COUNT]
    here = marked & offers & (place < mark.words)
    b.always(~here | (dut.o_data.valid == for_data), "is_for_who_asked")
    known = here & ((mark.addr[2:] + place)[:30] == address)
    b.always(~known | (word == value), "is_what_memory_holds")
    b.cover(known & gives & (place == per_beat) & (value != 0), "a_word_of_a_later_beat")
    b.cover(known & ~for_data & (start != 0) & (value != 0), "the_program_after_data")
    return b


PROPERTIES = [
    Property(
        name="fetcher.words",
        says="each request becomes one command, for the beats that hold its words; its client gets "
        "these words, as memory holds them, in order, none lost or made up; data go first",
        bench=lambda: words(8),
        depth=12,
        induction=False,
        cover=16,
        bugs=(
            Bug(what="it begins with the first word of the beat", file=_FILE,
                old="m.d.sync += place.eq(skipped)", new="m.d.sync += place.eq(0)"),
            Bug(what="the words before it are not counted", file=_FILE,
                old="(request.words + skipped + per_beat - 1)",
                new="(request.words + per_beat - 1)"),
            Bug(what="a word is of who asked last", file=_FILE,
                old="self.o_data.valid.eq(word.valid & word.p.for_data)",
                new="self.o_data.valid.eq(word.valid & for_data)"),
            Bug(what="what is left of the last beat stays", file=_FILE,
                old="(place == per_beat - 1) | (request.words == 1)",
                new="(place == per_beat - 1)"),
            Bug(what="the program goes first", file=_FILE,
                old="self.i_program.ready.eq(~self.i_data.valid)",
                new="self.i_program.ready.eq(1)"),
        ),
    ),
    Property(
        name="fetcher.words_of_a_narrow_port",
        says="the same where a beat is a word",
        bench=lambda: words(4),
        depth=12,
        induction=False,
        cover=16,
        bugs=(
            Bug(what="a word goes twice", file=_FILE,
                old="m.d.comb += beat.ready.eq(1)", new="m.d.comb += beat.ready.eq(place == 0)"),
        ),
    ),
]  # fmt: skip
