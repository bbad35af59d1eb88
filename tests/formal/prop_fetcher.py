"""The fetcher: every client gets the words that it asked for, and they are those of memory."""

from amaranth.hdl import Cat, Mux, Signal
from amaranth.utils import exact_log2

from hw.fetcher import Fetcher
from scripts.verify.formal_bench import Bench
from scripts.verify.formal_property import Bug, Property

_FILE = "hw/fetcher.py"

#: Width of counts of words: more than what can be on its way.
_COUNT = 10

#: Width of the address of a word, in the memory that words are read from.
_ADDRESS = 6


def _memory(b, dut):
    """Answer commands, from a memory of which one word, any one, is known.

    Returns (its address in words, what it holds, beats that are still to come).
    """
    m = b.m
    fetch, beat = dut.o_fetch, dut.i_beat
    per_beat = dut.port_bytes // 4
    address, value = b.constant(_ADDRESS, "address"), b.constant(32, "value")
    owed, at = b.register(9, "owed"), b.register(_ADDRESS, "at")
    moves = beat.valid & beat.ready
    with m.If(fetch.valid & fetch.ready):
        m.d.sync += [owed.eq(fetch.p.beats), at.eq(fetch.p.addr >> 2)]
    with m.Elif(moves):
        m.d.sync += [owed.eq(owed - 1), at.eq(at + per_beat)]
    b.assume(~beat.valid | (owed != 0), "beats_are_owed")
    for lane in range(per_beat):
        word = Cat(beat.payload[4 * lane + byte] for byte in range(4))
        known = beat.valid & ((at + lane)[:_ADDRESS] == address)
        b.assume(~known | (word == value), f"lane_{lane}_is_of_memory")
    return address, value, owed


class _Requests:
    """What both clients ask for: at least a word, at whole words.

    Members
    -------
    takes, takes_data : Value
        A request is taken; it is of the client of data.
    taken, now : Signal
        That request; the one that was taken last.
    """

    def __init__(self, b, dut):
        m = b.m
        program, data = dut.i_program, dut.i_data
        shape = data.payload.shape()
        for name, request in (("program", program), ("data", data)):
            legal = (request.p.words != 0) & (request.p.addr[:2] == 0)
            b.assume(~request.valid | legal, f"{name}_asks_for_words")
        self.takes_data, takes_program = data.valid & data.ready, program.valid & program.ready
        self.takes = self.takes_data | takes_program
        self.taken = Signal(shape)
        m.d.comb += self.taken.eq(Mux(self.takes_data, data.p, program.p))
        self.now = b.register(shape, "now", init=None)
        with m.If(self.takes):
            m.d.sync += self.now.eq(self.taken)
        b.always(~takes_program | ~data.valid, "data_goes_first")


def commands(port_bytes):
    """One for each request, of the beats that hold its words."""
    b = Bench()
    m = b.m
    dut = b.drive(Fetcher(port_bytes=port_bytes))
    per_beat, shift = port_bytes // 4, exact_log2(port_bytes)
    requests = _Requests(b, dut)
    now, fetch = requests.now, dut.o_fetch
    waits = b.register(1, "waits")  # it has no command yet
    with m.If(requests.takes):
        m.d.sync += waits.eq(1)
    with m.Elif(fetch.valid & fetch.ready):
        m.d.sync += waits.eq(0)
    words = now.words + (now.addr[:shift] >> 2)
    room = fetch.p.beats * per_beat
    b.always(fetch.valid == waits, "a_command_for_a_request")
    b.always(~requests.takes | ~waits, "one_request_after_the_other")
    b.always(~waits | (fetch.p.addr == (now.addr >> shift) << shift), "begins_with_its_beat")
    b.always(~waits | ((room >= words) & (room < words + per_beat)), "asks_for_all_and_no_more")
    b.cover(fetch.valid & (now.words == 255) & (words == room), "a_long_one")
    if per_beat > 1:
        b.cover(fetch.valid & (now.words == 2) & (room == 4), "in_two_beats")
    return b


def words(port_bytes):
    """Of one request, any one, among others of both clients, in a small memory."""
    b = Bench()
    m = b.m
    dut = b.drive(Fetcher(port_bytes=port_bytes))
    per_beat = port_bytes // 4
    address, value, owed = _memory(b, dut)
    requests = _Requests(b, dut)
    takes, data, request = requests.takes, dut.i_data, requests.taken
    b.assume(~takes | (request.addr >> (_ADDRESS + 2) == 0), "the_memory_is_small")
    b.always(~takes | (owed == 0), "all_beats_were_taken")

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
        m.d.sync += [
            marked.eq(1),
            mark.eq(request),
            start.eq(promised),
            for_data.eq(requests.takes_data),
        ]
    place = (given - start)[:_COUNT]
    here = marked & offers & (place < mark.words)
    b.always(~here | (dut.o_data.valid == for_data), "is_for_who_asked")
    known = here & ((mark.addr[2:] + place)[:_ADDRESS] == address)
    b.always(~known | (word == value), "is_what_memory_holds")
    b.cover(known & gives & (place == per_beat) & (value != 0), "a_word_of_a_later_beat")
    b.cover(known & ~for_data & (start != 0) & (value != 0), "the_program_after_data")
    return b


PROPERTIES = [
    *(
        Property(
            name=f"fetcher.commands_{port_bytes}",
            says=f"each request becomes one command, for those beats of {port_bytes} bytes that "
            "hold its words; data go first",
            bench=lambda port_bytes=port_bytes: commands(port_bytes),
            depth=2,
            cover=6,
            bugs=(
                Bug(what="the beat of the last word is not asked for", file=_FILE,
                    old="skipped + per_beat - 1)", new="skipped - 1)"),
                Bug(what="the program goes first", file=_FILE,
                    old="self.i_program.ready.eq(~self.i_data.valid)",
                    new="self.i_program.ready.eq(1)"),
            ),
        )
        for port_bytes in (4, 16)
    ),
    Property(
        name="fetcher.words",
        says="a client gets the words that it asked for, as memory holds them, in order, none "
        "lost or made up",
        bench=lambda: words(8),
        depth=10,
        induction=False,
        cover=12,
        bugs=(
            Bug(what="it begins with the first word of the beat", file=_FILE,
                old="place.eq(skipped)", new="place.eq(0)"),
            Bug(what="a word is of who asked last", file=_FILE,
                old="self.o_data.valid.eq(word.valid & word.p.for_data)",
                new="self.o_data.valid.eq(word.valid & for_data)"),
            Bug(what="what is left of the last beat stays", file=_FILE,
                old="(place == per_beat - 1) | is_last",
                new="(place == per_beat - 1)"),
        ),
    ),
    Property(
        name="fetcher.words_of_a_narrow_port",
        says="the same where a beat is a word",
        bench=lambda: words(4),
        depth=10,
        induction=False,
        cover=12,
        bugs=(
            Bug(what="the first word goes twice", file=_FILE,
                old="if port_bits > 2 else 0", new="if port_bits > 2 else 1"),
        ),
    ),
]  # fmt: skip
