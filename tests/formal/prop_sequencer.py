"""The sequencer: every operator of a pass ends, if all that it waits for comes."""

from hw.sequencer import Sequencer
from hw.spec.isa import OPERATORS
from scripts.verify.formal_bench import Bench
from scripts.verify.formal_property import Bug, Property
from tests.formal.small import config

#: Cycles in which the environment answers: takes an offer, gives a word, ends its work.
_PATIENCE = 2

#: Cycles that a unit works.
_WORK = 4

#: Cycles in which it has written what it was given; the sequencer may look a little later.
_WRITES, _LATE = 6, 3

#: Cycles without progress that a pass may take: checks, a stream's offer, a unit's work, writes.
_BOUND = 20

_FILE = "hw/sequencer.py"


def _answers(b, waits, answers, name, patience=_PATIENCE):
    """Assume that what waits is answered within so many cycles."""
    count = b.register(4, f"{name}_waits")
    with b.m.If(waits & ~answers):
        b.m.d.sync += count.eq(count + 1)
    with b.m.Else():
        b.m.d.sync += count.eq(0)
    b.assume((count < patience) | ~waits | answers, f"{name}_is_answered")


def progress(*, blind=False):
    """A pass of any legal words in a fair environment; ``blind`` to the writes it is a bug."""
    b = Bench()
    m = b.m
    dut = b.drive(Sequencer(config()), hold=("emits", "rows"), leave=("writes_pending",))
    writes_pending = b.free(1, "dut_writes_pending_drawn")
    m.d.comb += dut.writes_pending.eq(0 if blind else writes_pending)
    words, end = dut.i_operator, OPERATORS["end"].opcode
    descriptor, job = dut.o_descriptor, dut.o_job
    starts = dut.start.any()
    started, in_pass = b.register(1, "started_pass"), b.register(1, "in_pass")
    supplied = b.register(1, "supplied")  # words come until `end`
    taken = b.register(8, "taken")

    b.assume(~dut.error, "words_are_legal")
    b.assume(~dut.pass_start | ~in_pass, "one_pass_at_a_time")
    b.assume(dut.pass_start | in_pass | started, "a_pass_begins")
    with m.If(dut.pass_start):
        m.d.sync += [in_pass.eq(1), started.eq(1), supplied.eq(1)]
    with m.Elif(dut.pass_done):
        m.d.sync += in_pass.eq(0)
    with m.If(words.valid & words.ready & (words.p.word.opcode == end)):
        m.d.sync += supplied.eq(0)
    _answers(b, supplied & words.ready, words.valid, "word")
    _answers(b, descriptor.valid, descriptor.ready, "descriptor")
    _answers(b, job.valid, job.ready, "job")
    # Units work for some cycles after they were started, then rest; writes end after them.
    since = b.register(4, "since_start")
    with m.If(starts | (job.valid & job.ready)):
        m.d.sync += since.eq(0)
    with m.Elif(since < _WORK):
        m.d.sync += since.eq(since + 1)
    works = dut.busy | dut.units_issuing
    b.assume(~works | ((since < _WORK) & (taken != 0)), "units_work_when_started")
    _answers(b, writes_pending, ~writes_pending, "writes", _WRITES)

    moves = (
        (words.valid & words.ready)
        | (descriptor.valid & descriptor.ready)
        | (job.valid & job.ready)
        | starts
        | dut.pass_done
        | dut.pass_start
    )
    still = b.register(8, "still")
    with m.If(moves | ~in_pass):
        m.d.sync += still.eq(0)
    with m.Else():
        m.d.sync += still.eq(still + 1)
    b.always(still < _BOUND, "goes_on")

    # In order, and once: a word is started for each that is taken and not left out.
    begun = b.register(8, "begun")
    begins = starts | (job.valid & job.ready) | dut.pass_done
    m.d.sync += [taken.eq(taken + (words.valid & words.ready)), begun.eq(begun + begins)]
    b.always(~begins | (begun != taken), "begins_only_what_was_taken")
    attention = dut.start.bit_select(OPERATORS["attention"].opcode, 1)
    pending = writes_pending
    for cycle in range(1, _LATE + 1):
        pending = pending & b.past(writes_pending, f"pending_{cycle}", cycle)
    b.always(~attention | ~pending, "attention_waits_for_its_keys")
    b.cover(dut.pass_done & (taken == 1), "an_empty_pass")
    b.cover(job.valid & job.ready & (taken == 2), "a_product_after_another_word")
    b.cover(attention & (begun != 0), "attention")
    return b


PROPERTIES = [
    Property(
        name="sequencer.progress",
        says="no pass stands still: in an environment that answers within "
        f"{_PATIENCE} cycles something moves every {_BOUND}; attention waits for the writes",
        bench=progress,
        depth=30,
        induction=False,
        cover=24,
        bugs=(
            Bug(what="an end may be left out", file=_FILE, old=" & ~ends", new=""),
            Bug(what="a word that is left out stays", file=_FILE,
                old="m.d.sync += ahead_full.eq(0)\n            with m.Elif(~static)",
                new="pass\n            with m.Elif(~static)"),
            Bug(what="attention does not see the writes", arguments={"blind": True}),
        ),
    ),
]  # fmt: skip
