"""Runs the operators of a pass: streams are asked for ahead, work is done in order."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .jobs import matmul_job
from .operator_word import HeaderLayout, operator_layout
from .program_fetch import located_word
from .spec.csr import ERRORS
from .spec.formats import BLOCK_LEN
from .spec.isa import DESTINATIONS, MAX_TABLE_WORDS, OPERATORS
from .spec.tables import MAX_TABLE_SHIFT
from .weight_streamer import WORDS_WIDTH

__all__ = ["Sequencer", "static_descriptor"]

_CODE = {name: operator.opcode for name, operator in OPERATORS.items()}


def _strips(linear):
    """Return the strips of a linear operator: gates, and ups if there are any; or q, k and v."""
    return linear.strips0 + linear.strips1 + linear.strips2


def static_descriptor(config):
    """Return the layout of a stream's place: ``words[t]`` words from ``addr`` on in channel t."""
    return data.StructLayout({
        "addr": 32,
        "words": data.ArrayLayout(unsigned(WORDS_WIDTH), config.tiles),
    })


class Sequencer(wiring.Component):
    """Check each operator word, ask for its stream, and start its unit when the one before is done.

    While an operator runs, the stream of the next is already being fetched: weights do not depend
    on results. Only descriptors that a unit makes itself (embedding, rope, attention) must come
    first, as the stream is one.

    Parameters
    ----------
    config : ArchConfig

    Members
    -------
    i_operator : In(stream of located_word)
        Words in program order.
    pass_start : In(1)
        A pass begins. ``rows`` and ``emits``, how many of them give a token, hold until
        ``pass_done``.
    pass_done : Out(1)
        The word ``end`` was reached.
    o_descriptor : Out(stream of static_descriptor)
        Static streams. Weights lie in all channels, gains in channel 0.
    units_issuing : In(1)
        A unit has descriptors of its own to give.
    start : Out(opcodes)
        One bit for each opcode: its unit is to start on ``word``.
    word, kind, running : Out
        The operator that runs, its opcode as one bit of as many as there are, and whether one does.
    busy : In(1)
        A unit works, or results are on their way. It rises, or ``units_issuing`` does, at most
        three cycles after ``start`` or after a job was taken.
    writes_pending : In(1)
        Keys and values are on their way to memory.
    o_job : Out(stream of matmul_job)
        Jobs of linear operators.
    error, error_cause, error_addr : Out
        A word that cannot be run, and its address, found while the operator before it may still be
        running. It stays, and nothing after it is taken, until reset.

    Timing
    ------
    ``start`` and ``o_descriptor.valid`` come from registers, and ``busy``, ``units_issuing`` and
    ``writes_pending`` go into registers: no path leads from a unit's state through the sequencer.
    An operator is over two cycles after its units are, the next one's job is on offer one cycle
    later, ``start`` one more.
    """

    #: Cycles in which a word is checked, before anything else is done with it.
    CHECK_CYCLES = 4
    #: Cycles after an operator was started in which its units need not be busy yet, as seen here.
    SETTLE_CYCLES = 4

    def __init__(self, config):
        self.config = config
        super().__init__({
            "i_operator": In(stream.Signature(located_word())),
            "pass_start": In(1),
            "pass_done": Out(1),
            "emits": In(range(config.max_seqs + 1)),
            "rows": In(range(config.max_rows + 1)),
            "o_descriptor": Out(stream.Signature(static_descriptor(config))),
            "units_issuing": In(1),
            "start": Out(max(_CODE.values()) + 1),
            "word": Out(HeaderLayout),
            "kind": Out(max(_CODE.values()) + 1),
            "running": Out(1),
            "busy": In(1),
            "writes_pending": In(1),
            "o_job": Out(stream.Signature(matmul_job(config))),
            "error": Out(1),
            "error_cause": Out(4),
            "error_addr": Out(32),
        })

    def elaborate(self, platform):
        m = Module()
        ahead = Signal(located_word())
        ahead_full = Signal()
        ahead_issued = Signal()
        in_pass = Signal()  # between pass_start and the word `end`
        dynamic = Signal()  # the running operator has not given all its descriptors yet
        word = Signal(HeaderLayout)
        take = Signal()  # the running place takes the word ahead
        cause = Signal(4)
        checks = Signal(self.CHECK_CYCLES)  # a bit that moves up while the word is looked at
        normed_blocks = Signal(4)  # of a head, as the last `head_norm` said
        offering = Signal()
        settling = Signal(self.SETTLE_CYCLES)  # a bit that moves down since the start
        busy, issuing, pending = (
            Signal(name=f"{name}_seen") for name in ("busy", "issuing", "pending")
        )
        strips, job_strips = Signal(16), Signal(16)  # of the word ahead, of the one that runs

        header = ahead.word
        static = (
            (header.opcode == _CODE["norm"])
            | (header.opcode == _CODE["linear"])
            | (header.opcode == _CODE["head_norm"])
        )
        # A pass without its end would never be over.
        ends = header.opcode == _CODE["end"]
        skipped = (header.emit_only != 0) & (self.emits == 0) & ~ends
        m.d.comb += [
            self.i_operator.ready.eq(~ahead_full & in_pass),
            self.o_descriptor.p.addr.eq(header.addr),
            self.error_addr.eq(ahead.addr),
            self.error_cause.eq(cause),
            self.word.eq(word),
            self.o_descriptor.valid.eq(offering),
        ]
        m.d.sync += [
            busy.eq(self.busy | self.units_issuing),
            issuing.eq(self.units_issuing),
            pending.eq(self.writes_pending),
            settling.eq(settling >> 1),
            self.start.eq(0),
            strips.eq(_strips(operator_layout("linear")(header.as_value()))),
        ]
        begins_check = Signal()
        m.d.sync += checks.eq(Cat(begins_check, checks))
        with m.If(self.pass_start):
            m.d.sync += in_pass.eq(1)
        with m.If(self.i_operator.valid & self.i_operator.ready):
            m.d.sync += [
                ahead.eq(self.i_operator.payload),
                ahead_full.eq(1),
                ahead_issued.eq(0),
            ]
            m.d.comb += begins_check.eq(1)
            with m.If(self.i_operator.p.word.opcode == _CODE["end"]):
                m.d.sync += in_pass.eq(0)

        self._check(m, ahead.word, cause, normed_blocks)
        with m.If(offering):
            with m.If(self.o_descriptor.ready):
                m.d.sync += [offering.eq(0), ahead_issued.eq(1)]
        with m.Elif(ahead_full & ~ahead_issued & ~checks.any()):
            with m.If(cause != 0):
                m.d.comb += self.error.eq(1)
            with m.Elif(skipped):
                m.d.sync += ahead_full.eq(0)
            with m.Elif(~static):
                m.d.sync += ahead_issued.eq(1)
            with m.Elif(~dynamic):
                m.d.sync += offering.eq(1)

        is_dynamic = (
            (header.opcode == _CODE["embed"])
            | (header.opcode == _CODE["rope"])
            | (header.opcode == _CODE["attention"])
        )
        with m.FSM():
            with m.State("WAIT"):
                with m.If(ahead_full & ahead_issued):
                    m.d.comb += take.eq(1)
                    m.d.sync += [word.eq(ahead.word), ahead_full.eq(0), dynamic.eq(is_dynamic)]
                    m.d.sync += [self.kind.eq(1 << header.opcode[:3]), job_strips.eq(strips)]
                    with m.If(header.opcode == _CODE["head_norm"]):
                        head_norm = operator_layout("head_norm")(header.as_value())
                        m.d.sync += normed_blocks.eq(head_norm.head_blocks)
                    m.next = "START"
            with m.State("START"):
                m.d.comb += self.running.eq(1)
                m.d.sync += settling.eq(-1)
                with m.If(self.kind[_CODE["linear"]]):
                    m.d.comb += self.o_job.valid.eq(1)
                    with m.If(self.o_job.ready):
                        m.next = "RUN"
                with m.Elif(self.kind[_CODE["end"]]):
                    m.d.comb += self.pass_done.eq(1)
                    m.next = "WAIT"
                # Keys and values of this pass must be in memory before they are read.
                with m.Elif(~self.kind[_CODE["attention"]] | ~pending):
                    m.d.sync += self.start.eq(self.kind)
                    m.next = "RUN"
            with m.State("RUN"):
                m.d.comb += self.running.eq(1)
                with m.If(~settling.any()):
                    with m.If(~issuing):
                        m.d.sync += dynamic.eq(0)
                    with m.If(~busy):
                        m.next = "WAIT"

        self._static_words(m, header, strips)
        self._linear_job(m, word, job_strips)
        return m

    def _static_words(self, m, header, strips):
        """Tell the words in each channel, while the word is checked.

        A group may have a strip less than group 0.
        """
        cfg = self.config
        linear = operator_layout("linear")(header.as_value())
        is_linear = header.opcode == _CODE["linear"]
        rest = strips[: exact_log2(cfg.groups)]  # of the last, shorter round
        for tile in range(cfg.tiles):
            group = tile // cfg.strip_tiles
            words = self.o_descriptor.p.words[tile]
            with m.If(is_linear & (rest != 0) & (rest <= group)):
                m.d.sync += words.eq(linear.words - linear.strip_words)
            with m.Else():
                m.d.sync += words.eq(Mux(is_linear | (tile == 0), header.words, 0))

    def _check(self, m, header, cause, normed_blocks):
        """Refuse what no unit could run; ``cause`` holds `CHECK_CYCLES` after the word does."""
        cfg = self.config
        views = {name: operator_layout(name)(header.as_value()) for name in OPERATORS}
        wrong = {name: Signal(name=f"wrong_{name}") for name in OPERATORS}
        # Of attention: the product of three fields, a multiplication a cycle.
        attention = views["attention"]
        queries = Signal(16)
        blocks = Signal(20)
        m.d.sync += [
            queries.eq(attention.kv_heads * attention.group),
            blocks.eq(queries * attention.head_blocks),
        ]
        max_blocks = cfg.max_dim // BLOCK_LEN
        head_blocks = cfg.max_head_dim // BLOCK_LEN

        def outside(value, least, most):
            return (value < least) | (value > most)

        def no_table(word):
            return outside(word.words, 1, MAX_TABLE_WORDS)

        def no_rows(word):
            """Rows that emit are asked for in passes that have none."""
            return word.emit_rows & (word.emit_only == 0)

        word = views["embed"]
        m.d.sync += wrong["embed"].eq(outside(word.blocks, 1, max_blocks) | no_table(word))
        word = views["rope"]
        m.d.sync += wrong["rope"].eq(outside(word.blocks, 1, head_blocks) | no_table(word))
        word = views["norm"]
        m.d.sync += wrong["norm"].eq(
            outside(word.blocks, 1, max_blocks)
            | (word.dst + word.blocks > cfg.act_blocks)
            | no_table(word)
            | no_rows(word)
        )
        word = views["linear"]
        is_qkv = word.dest == DESTINATIONS["qkv"]
        # The two that take longest have registers of their own.
        too_long, too_far = Signal(), Signal()
        m.d.sync += [
            too_long.eq(word.strip_words > word.words),
            too_far.eq(word.dst + word.strips0 > cfg.act_blocks),
        ]
        of_dest = is_qkv | (word.dest == DESTINATIONS["glu"])
        wrong_linear = Signal()
        m.d.comb += wrong["linear"].eq(wrong_linear | too_long | (too_far & of_dest))
        m.d.sync += wrong_linear.eq(
            (word.blocks == 0)
            | (word.src + word.blocks > cfg.act_blocks)
            | (word.strips0 == 0)
            | (word.words == 0)
            | no_rows(word)
            | (word.dest > max(DESTINATIONS.values()))
            | (is_qkv & outside(word.head_blocks, 1, head_blocks))
            | (is_qkv & ((word.strips1 == 0) | (word.strips2 == 0)))
            | (is_qkv & word.head_norm & (word.head_blocks != normed_blocks))
            | (
                (word.dest == DESTINATIONS["glu"])
                & (
                    ((word.strips1 != word.strips0) & (word.strips1 != 0))
                    | (word.table_shift > MAX_TABLE_SHIFT)
                )
            )
            | ((word.dest == DESTINATIONS["residual"]) & (word.strips0 > max_blocks))
        )
        word = attention
        m.d.sync += wrong["attention"].eq(
            outside(word.head_blocks, 1, head_blocks)
            | (word.kv_heads == 0)
            | outside(word.group, 1, cfg.max_rows)
            | (word.q_src + blocks > cfg.act_blocks)
            | (word.dst + blocks > cfg.act_blocks)
        )
        word = views["head_norm"]
        m.d.sync += wrong["head_norm"].eq(
            outside(word.head_blocks, 1, head_blocks) | no_table(word)
        )
        m.d.sync += cause.eq(ERRORS["bad_opcode"])
        for name, code in _CODE.items():
            with m.If(header.opcode == code):
                m.d.sync += cause.eq(Mux(wrong[name], ERRORS["bad_field"], 0))

    def _linear_job(self, m, header, strips):
        word = operator_layout("linear")(header.as_value())
        job = self.o_job.p
        m.d.comb += [
            job.dest.eq(word.dest[:3]),
            job.bias.eq(word.bias),
            job.strips.eq(strips),
            job.blocks.eq(word.blocks),
            job.heads.eq(1),
            job.head_rows.eq(Mux(word.emit_rows, self.emits, self.rows)),
            job.head_blocks.eq(word.head_blocks),
            job.src.eq(word.src),
            job.dst.eq(word.dst),
        ]
        for index in range(3):
            m.d.comb += [
                job[f"strips{index}"].eq(word[f"strips{index}"]),
                job[f"shift1_{index}"].eq(word[f"shift1_{index}"]),
                job[f"shift2_{index}"].eq(word[f"shift2_{index}"]),
            ]
