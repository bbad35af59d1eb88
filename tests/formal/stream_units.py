"""Units with streams: how small each is looked at, and what it may count on."""

from dataclasses import dataclass, field

from amaranth.hdl import Mux, unsigned
from amaranth.lib import data

from hw.activation import Activation
from hw.admission import Admission
from hw.attention import Attention
from hw.attention_order import AttentionOrder
from hw.block_quantiser import BlockQuantiser
from hw.board.bridge_memory import BridgeMemory
from hw.board.bridge_receiver import BridgeReceiver
from hw.board.bridge_transmitter import BridgeTransmitter
from hw.board.sdram_cutter import SdramCutter
from hw.board.sdram_reads import SdramReads
from hw.board.sdram_writes import SdramWrites
from hw.burst_cutter import BurstCutter
from hw.drain import Drain
from hw.embedding import Embedding
from hw.event_writer import EventWriter
from hw.fetcher import Fetcher
from hw.glu import Glu
from hw.head_norm import HeadNorm
from hw.inverse_root import InverseRoot
from hw.jobs import result_label
from hw.kv_reader import KvReader
from hw.kv_writer import KvWriter
from hw.lib.credit_queue import CreditQueue
from hw.lib.fork import Fork
from hw.lib.gearbox import Gearbox
from hw.lib.queue import Queue
from hw.lib.slice import Slice
from hw.matmul import Matmul
from hw.memory_controller import MemoryController
from hw.memory_reader import MemoryReader
from hw.memory_writer import MemoryWriter
from hw.pass_planner import PassPlanner
from hw.program_fetch import ProgramFetch
from hw.qkv_projection import QkvProjection
from hw.random_threshold import RandomThreshold
from hw.reciprocal import Reciprocal
from hw.record_writer import RecordWriter
from hw.requantiser import Requantiser
from hw.result_merge import ResultMerge
from hw.result_path import ResultPath
from hw.rmsnorm import RmsNorm
from hw.rope import Rope
from hw.row_tables import RowTables
from hw.scheduler import Scheduler
from hw.sequencer import Sequencer
from hw.softmax import Softmax
from hw.table_reader import TableReader
from hw.token_choice import TokenChoice
from hw.top_candidates import TopCandidates
from hw.weight_loader import WeightLoader
from hw.weight_streamer import WeightStreamer
from tests.formal.small import config
from tests.hw.with_norm import WithNorm

__all__ = ["LEFT_OUT", "UNITS", "Unit"]


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A unit whose streams are looked at, and what it may count on.

    Parameters
    ----------
    name : str
    make : callable
        Returns it, as small as it can be.
    hold, fix : tuple, dict
        As of `Bench.drive`: inputs that keep a value, as the unit's docstring asks, or have one.
    environment : callable
        Called with the bench and the unit, to assume more of it. It may return a choice of the
        bench under which the run for the cover points is a simple one, and quickly found.
    depth, induction, cover, quick
        Of the `Property`.
    only : tuple of str
        The outputs that are looked at, if not all: others offer nothing for too many cycles.
    payload : bool
        Whether a payload that changes is planted too, beside an offer that is withdrawn.
    """

    name: str
    make: object
    hold: tuple = ()
    fix: dict = field(default_factory=dict)
    environment: object = None
    depth: int = 2
    induction: bool = True
    cover: int = 12
    quick: bool = False
    payload: bool = False
    only: tuple = ()


def scores_stay(b, dut):
    """Scores that are complete stay so until their job is taken."""
    taken = dut.o_job.valid & dut.o_job.ready
    b.assume(
        (b.past(dut.scores_ready & ~taken.replicate(2), "scores_ready") & ~dut.scores_ready) == 0,
        "scores_stay",
    )


def headers_stay_free(b, dut):
    """A header is in use from when it begins to be filled on, and never before."""
    fresh = dut.header_used & ~b.past(dut.header_used | dut.header_takes, "header_used")
    b.assume(fresh == 0, "headers_stay_free")


def beats_are_owed(b, dut):
    """Beats come for bursts that were asked for."""
    owed = b.register(16, "owed")
    asked = Mux(dut.o_burst.valid & dut.o_burst.ready, dut.o_burst.p.beats, 0)
    b.m.d.sync += owed.eq(owed + asked - dut.beat_valid)
    b.assume(~dut.beat_valid | (owed != 0), "beats_are_owed")


def words_are_owed(b, dut):
    """A word comes back for each beat of a segment that was taken, not more."""
    owed = b.register(16, "owed")
    taken = dut.o_segment.valid & dut.o_segment.ready
    beats = Mux(taken, dut.o_segment.p.beats, 0)
    b.m.d.sync += owed.eq(owed + beats - dut.word_valid)
    b.assume(~dut.word_valid | (owed != 0), "words_are_owed")


def responses_are_owed(b, dut):
    """The last beat of a burst is used once for each last segment that was taken."""
    owed = b.register(8, "owed")
    taken = dut.o_segment.valid & dut.o_segment.ready & dut.o_segment.p.last
    answers = dut.issued & dut.issued_last
    b.m.d.sync += owed.eq(owed + taken - answers)
    b.assume(~answers | (owed != 0), "responses_are_owed")


def host_reads_events(b, dut):
    """The host reads events that were written; of a run that is simple, an empty request fails."""
    unread = b.past(dut.events_written - dut.events_read, "unread")
    reads = dut.events_read - b.past(dut.events_read, "events_read")
    b.assume(~b.started | (reads[:32] <= unread[:32]), "host_reads_what_was_written")
    simple = b.constant(1, "simple")
    rings = (dut.request_ring_len == 4) & (dut.event_ring_len == 4) & (dut.channel_stride == 0)
    counts = (dut.requests_written == 1) & (dut.events_read == 0)
    words = dut.i_word.valid & (dut.i_word.payload == 0) & dut.o_fetch.ready
    b.assume(~simple | (rings & counts & words), "simple_registers_and_words")
    b.assume(~simple | ((dut.start == ~b.started) & ~dut.cancel), "simple_start")
    return simple


#: Registers of the scheduler that the host moves on while it runs.
_MOVING = ("requests_written", "events_read", "cancel_id")

UNITS = [
    Unit(name="queue", make=lambda: Queue(8, 4), fix={"flush": 0}, quick=True),
    Unit(name="slice", make=lambda: Slice(8), fix={"flush": 0}, payload=True, quick=True),
    Unit(name="credit_queue", make=lambda: CreditQueue(4, latency=2)),
    Unit(name="fork", make=lambda: Fork(4, 2)),
    Unit(name="gearbox.join", make=lambda: Gearbox(i_bytes=1, o_bytes=4), fix={"flush": 0}),
    Unit(
        name="gearbox.cut",
        make=lambda: Gearbox(i_bytes=4, o_bytes=1),
        fix={"flush": 0},
        payload=True,
    ),
    Unit(name="activation", make=lambda: Activation(lanes=4, meta_shape=unsigned(2)), cover=30),
    Unit(
        name="admission",
        make=lambda: Admission(config()),
        hold=("addr", "slot", *Admission.REGISTERS),
    ),
    Unit(
        name="attention",
        make=lambda: Attention(config()),
        hold=("word", "segments", "segment"),
        environment=scores_stay,
        depth=8,
        cover=16,
    ),
    Unit(
        name="attention_order",
        make=lambda: AttentionOrder(config()),
        hold=("word", "segments", "segment"),
        depth=8,
        cover=16,
    ),
    Unit(
        name="block_quantiser",
        make=lambda: BlockQuantiser(lanes=4, meta_shape=unsigned(2)),
        cover=30,
    ),
    Unit(name="bridge_memory", make=lambda: BridgeMemory(port_bytes=4)),
    Unit(name="bridge_receiver", make=lambda: BridgeReceiver()),
    Unit(name="bridge_transmitter", make=lambda: BridgeTransmitter()),
    Unit(
        name="burst_cutter",
        make=lambda: BurstCutter(port_bytes=4, beats_width=8, max_burst=16, region_count=2),
        fix={"flush": 0},
        quick=True,
    ),
    Unit(name="drain", make=lambda: Drain(config()), cover=30),
    Unit(name="embedding", make=lambda: Embedding(lanes=4, meta_shape=unsigned(2))),
    Unit(name="event_writer", make=lambda: EventWriter(port_bytes=8)),
    Unit(name="fetcher", make=lambda: Fetcher(port_bytes=8), payload=True),
    Unit(
        name="glu",
        make=lambda: Glu(config()),
        hold=("gated", "activation", "table_shift", "shift"),
        cover=26,
    ),
    Unit(
        name="head_norm",
        make=lambda: WithNorm(HeadNorm(config()), config()),
        hold=("enable", "head_blocks", "word"),
        depth=10,
        induction=False,
        cover=80,
    ),
    Unit(name="inverse_root", make=lambda: InverseRoot(width=24), cover=30),
    Unit(
        name="kv_reader",
        make=lambda: KvReader(config()),
        hold=("word", "segments", "segment", "page"),
        cover=20,
    ),
    Unit(name="kv_writer", make=lambda: KvWriter(config()), quick=True),
    Unit(name="matmul", make=lambda: Matmul(config())),
    Unit(
        name="memory_controller",
        make=lambda: MemoryController(port_bytes=4, stream_depth=16, max_burst=4),
        fix={"halt": 0},
    ),
    Unit(
        name="memory_reader",
        environment=beats_are_owed,
        make=lambda: MemoryReader(
            port_bytes=4, beats_width=6, depth=8, max_burst=2, region_count=1, max_bursts=4
        ),
        fix={"flush": 0, "drop": 0},
        depth=16,
        induction=False,
    ),
    Unit(
        name="memory_writer",
        make=lambda: MemoryWriter(
            port_bytes=4, beats_width=6, max_burst=2, region_count=1, max_bursts=4
        ),
        fix={"flush": 0, "drop": 0},
        quick=True,
    ),
    Unit(
        name="pass_planner",
        make=lambda: PassPlanner(config()),
        hold=PassPlanner.REGISTERS,
        depth=3,
        cover=14,
    ),
    Unit(name="program_fetch", make=lambda: ProgramFetch(), cover=30),
    Unit(
        name="qkv_projection",
        make=lambda: WithNorm(QkvProjection(config()), config()),
        hold=("head_norm", "head_blocks", "word", "rope_en"),
        cover=16,
    ),
    Unit(name="random_threshold", make=lambda: RandomThreshold(total_width=20), cover=60),
    Unit(name="reciprocal", make=lambda: Reciprocal(width=20, meta_shape=unsigned(2)), cover=40),
    Unit(
        name="record_writer",
        make=lambda: RecordWriter(port_bytes=4, record_bytes=16),
        payload=True,
        quick=True,
    ),
    Unit(name="requantiser", make=lambda: Requantiser(lanes=2, meta_shape=unsigned(2)), cover=24),
    Unit(
        name="result_merge",
        make=lambda: ResultMerge(
            config(tiles=2), data.StructLayout({"data": 4, "meta": result_label(config(tiles=2))})
        ),
        hold=("by_block",),
        fix={"restart": 0},
    ),
    Unit(
        name="result_path",
        make=lambda: WithNorm(ResultPath(config()), config()),
        # Not by induction, which begins with results that are for several.
        depth=10,
        induction=False,
        cover=28,
    ),
    Unit(
        name="rmsnorm",
        make=lambda: RmsNorm(lanes=4, max_dim=32, max_rows=4, max_gains=64),
        cover=64,
    ),
    Unit(name="rope", make=lambda: Rope(lanes=4, meta_shape=unsigned(2))),
    Unit(
        name="row_tables",
        make=lambda: RowTables(config()),
        hold=("is_rope", "word", "rows", "position", "token"),
        cover=30,
    ),
    Unit(
        name="scheduler",
        only=("o_fetch",),
        make=lambda: Scheduler(config()),
        hold=Scheduler.REGISTERS,
        depth=13,
        induction=False,
        cover=13,
    ),
    Unit(
        name="scheduler.events",
        only=("o_event",),
        make=lambda: Scheduler(config()),
        hold=tuple(name for name in Scheduler.REGISTERS if name not in _MOVING),
        environment=host_reads_events,
        depth=4,
        cover=31,
    ),
    Unit(
        name="sdram_cutter.read",
        make=lambda: SdramCutter(write=False, data_bytes=4, addr_width=24, id_width=2),
        payload=True,
    ),
    Unit(
        name="sdram_cutter.write",
        make=lambda: SdramCutter(write=True, data_bytes=4, addr_width=24, id_width=2),
    ),
    Unit(
        name="sdram_reads",
        environment=words_are_owed,
        make=lambda: SdramReads(data_bytes=4, addr_width=24, id_width=2),
        depth=16,
        induction=False,
    ),
    Unit(
        name="sdram_writes",
        environment=responses_are_owed,
        make=lambda: SdramWrites(data_bytes=4, addr_width=24, id_width=2),
        depth=16,
        induction=False,
    ),
    Unit(
        name="sequencer",
        make=lambda: Sequencer(config()),
        hold=("emits", "rows"),
        cover=14,
        depth=14,
        induction=False,
    ),
    Unit(name="softmax", make=lambda: Softmax(lanes=4, max_rows=4, max_context=32), cover=40),
    Unit(name="table_reader", make=lambda: TableReader(config())),
    Unit(name="token_choice", make=lambda: TokenChoice(config())),
    Unit(name="top_candidates", make=lambda: TopCandidates(lanes=4, max_rows=4, list_len=8)),
    Unit(
        name="weight_loader",
        make=lambda: WeightLoader(config(), delay=3),
        environment=headers_stay_free,
    ),
    Unit(
        name="weight_streamer",
        make=lambda: WeightStreamer(port_bytes=8, word_bytes=4),
        fix={"halt": 0},
    ),
]

#: Modules with streams that are not looked at by themselves, and why.
LEFT_OUT = {
    "hw.board.bridge": "its outputs are those of `bridge_transmitter` and `bridge_memory`",
    "hw.board.uart": "its outputs are those of `uart_receiver`",
    "hw.board.uart_receiver": "its stream cannot wait: the line does not",
    "hw.board.sdram_rows": "its offers follow the rows' timers: tests/board/bench_sdram_rules.py",
    "hw.core": "joins the units below",
    "hw.norm_operator": "passes on what `rmsnorm` offers",
    "hw.sampler": "inside `token_choice`",
    "hw.tile": "joins `weight_streamer`, `table_reader` and `drain`",
}
