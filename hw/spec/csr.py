"""Register map of the AXI4-Lite port: 32-bit registers at byte offsets."""

from dataclasses import dataclass

__all__ = [
    "ARRAY_KINDS",
    "CONTROL",
    "COUNTERS",
    "COUNTER_BASE",
    "ERRORS",
    "ID_VALUE",
    "IRQ",
    "OPERATOR_KINDS",
    "REGISTERS",
    "STATUS",
    "TILE_UNITS",
    "UNIT_STATES",
    "VERSION_VALUE",
    "Register",
    "counter_offset",
    "registers_of",
]

ID_VALUE = 0x4F525253  # "SRRO"
VERSION_VALUE = 0x00_04_00_00  # major.minor.patch.0


@dataclass(frozen=True)
class Register:
    """Offset in bytes, access (``ro``, ``rw`` or ``wo``) and meaning of one register."""

    offset: int
    access: str
    doc: str


REGISTERS = {
    "id": Register(0x000, "ro", "ID_VALUE: the letters SRRO"),
    "version": Register(0x004, "ro", "hardware version, a byte each: major, minor, patch, 0"),
    "config0": Register(0x008, "ro", "rows | cols << 8 | lanes << 16 | port_bytes << 24"),
    "config1": Register(0x00C, "ro", "max_rows | max_dim << 16"),
    "config2": Register(0x010, "ro", "max_context | page_len << 16"),
    "config3": Register(0x014, "ro", "act_blocks | max_head_dim << 16"),
    "config4": Register(0x018, "ro", "max_seqs | kv_pages << 16"),
    "config5": Register(0x01C, "ro", "list_len | tiles << 16 | parity << 24"),
    "control": Register(0x040, "wo", "CONTROL bits, each acts when written as 1"),
    "status": Register(0x044, "ro", "STATUS bits"),
    "error_cause": Register(0x048, "ro", "why the chip stopped: ERRORS; kept until the next start"),
    "error_addr": Register(0x04C, "ro", "address or operator that the error is about"),
    "error_op": Register(0x050, "ro", "op_id of the operator that was running"),
    "irq_enable": Register(0x054, "rw", "IRQ bits that raise the interrupt line"),
    "irq_status": Register(0x058, "rw", "IRQ bits; writing 1 clears a bit"),
    "program_addr": Register(0x060, "rw", "address of the first operator word"),
    "request_ring_addr": Register(0x064, "rw", "address of the ring of requests"),
    "request_ring_len": Register(0x068, "rw", "entries of the ring of requests: a power of two"),
    "requests_written": Register(0x06C, "rw", "requests that the host has written since start"),
    "requests_taken": Register(0x070, "ro", "requests that the chip has taken since start"),
    "event_ring_addr": Register(0x074, "rw", "address of the ring of events"),
    "event_ring_len": Register(0x078, "rw", "entries of the ring of events: a power of two"),
    "events_written": Register(0x07C, "ro", "events that the chip has written since start"),
    "events_read": Register(0x098, "rw", "events that the host has read since start"),
    "cancel_id": Register(0x09C, "rw", "request that CONTROL's cancel withdraws"),
    "page_bytes": Register(0x0A0, "rw", "bytes of a page of the KV cache"),
    "kv_pages": Register(0x0AC, "rw", "pages of the KV region"),
    "vocab": Register(0x0B0, "rw", "tokens that a prompt may have are below this"),
    "context": Register(0x0B4, "rw", "positions that the program's tables reach"),
    "channel_stride": Register(
        0x0B8, "rw", "t times this is added to addresses on channel t: a multiple of 4096"
    ),
    # On a chip with parity alone.
    "parity_errors": Register(0x0BC, "ro", "wrong words read from the chip's memories since reset"),
    "image_base": Register(0x080, "rw", "region of weights and program (read only): first byte"),
    "image_limit": Register(0x084, "rw", "... and the byte after its last"),
    "kv_base": Register(0x088, "rw", "region of the KV cache (read, write)"),
    "kv_limit": Register(0x08C, "rw", "... and the byte after its last"),
    "host_base": Register(0x090, "rw", "region of requests, prompts, tables, events (read, write)"),
    "host_limit": Register(0x094, "rw", "... and the byte after its last"),
    "watchdog": Register(0x0A4, "rw", "cycles without progress before a trap; 0: never"),
    "max_prefill": Register(0x0A8, "rw", "prompt rows of a pass at most; 0: max_rows"),
}

#: Those of `REGISTERS` that only chips with parity have.
_OF_PARITY = ("parity_errors",)

#: Bits of ``control``.
CONTROL = {"start": 0, "stop": 1, "cancel": 2}

#: Bits of ``status``.
STATUS = {"busy": 0, "done": 1, "error": 2, "stalled": 3}

#: Bits of ``irq_enable`` and ``irq_status``.
IRQ = {"event": 0, "done": 1, "error": 2}

#: Values of ``error_cause``.
ERRORS = {
    "none": 0,
    "bad_opcode": 1,  # error_addr: address of the operator word
    "bad_field": 2,  # error_addr: address of the operator word
    "bad_address": 3,  # outside every region it may touch; error_addr: the address
    "axi_slverr": 4,  # error_addr: address of the burst
    "axi_decerr": 5,
    "page_miss": 6,  # error_addr: position that has no page
    "too_long": 7,  # past max_context or the model's table of positions; error_addr: position
    "watchdog": 8,
    "busy_start": 9,  # start while busy: reported in irq/status, the run goes on
    # Lengths or counts of 0 or too large; rings that are no power of two; a wrong channel_stride.
    "bad_request": 10,
    "bad_page": 11,  # of a request: outside the KV region, or another's; detail: its number
    "bad_token": 12,  # prompt token that the vocabulary does not have; error_addr: the token
    # A memory on the chip has lost a bit: only with parity. error_addr: `hw.spec.memories`.
    "memory_parity": 13,
}

#: Units whose cycles are counted, and what of them: ``<unit>_busy``, ``_starved``, ``_stalled``.
#: Busy: it has work inside. Starved: it could work and waits for its input. Stalled: it has a
#: result that is not taken. Of units that each tile has (`TILE_UNITS`) the cycles of all are added.
UNIT_STATES = {
    # Weight stream: a descriptor is inside or words wait; no word is on offer; one is not taken.
    "stream": ("busy", "starved", "stalled"),
    # Matrix unit: a job or its sums are inside; rows to feed and no weights; both are there, and
    # the strip's bank of sums is not drained yet.
    "array": ("busy", "starved", "stalled"),
    # Drain and requantiser: results inside; a job is in the array, no strip of it complete and no
    # result inside; a result on offer is not taken.
    "post": ("busy", "starved", "stalled"),
    # Norm: an operator runs; it takes gains and none is on offer; a row's beat is not taken.
    "norm": ("busy", "starved", "stalled"),
    # Softmax: complete scores are inside. Its results are taken at once.
    "softmax": ("busy",),
    # Attention: an operator runs; P.V waits for its probabilities; a job is not taken by the array.
    "attention": ("busy", "starved", "stalled"),
    # Embedding and rope: one of them runs; no entry of a table is on offer; a beat is not taken.
    "tables": ("busy", "starved", "stalled"),
    # Keys and values: a block is inside; the memory controller does not take address or data.
    "kv_writer": ("busy", "stalled"),
    # Choice of tokens, after a pass: it chooses or writes candidates; these are not taken.
    "choice": ("busy", "stalled"),
    # Scheduler, neither in a pass nor in a choice: it works; it waits for words from memory; the
    # ring of events is full.
    "scheduler": ("busy", "starved", "stalled"),
}

#: Those of `UNIT_STATES` that every tile has.
TILE_UNITS = ("stream", "array", "post", "softmax", "attention")

#: Kinds of operators: names of `hw.spec.isa.OPERATORS`, a linear one by its destination.
OPERATOR_KINDS = (
    "embed", "rope", "norm", "head_norm", "residual", "qkv", "glu", "logits", "attention",
)  # fmt: skip

#: Those whose rows go through the array.
ARRAY_KINDS = ("residual", "qkv", "glu", "logits", "attention")

#: 64-bit counters, low word first, cleared by start; counting while busy. In cycles unless said.
#: Events of several tiles and channels are added.
COUNTER_BASE = 0x100
COUNTERS = (
    "cycles",  # since start
    "passes",  # passes over the program
    "tokens",  # events written
    "read_beats",  # beats taken from the memory port
    "write_beats",  # beats given to the memory port
    "prefetch_full",  # a burst to ask for, and no room: the memory waited for the array
    "array_rows",  # activation rows fed to the array: times rows x cols is MACs
    "weight_words",  # words of cols bytes loaded into the array
    "stream_words",  # words of cols bytes taken from the stream: headers and tables, too
    "saturations",  # results clipped by the requantiser, in lanes
    *(f"{unit}_{state}" for unit, states in UNIT_STATES.items() for state in states),
    # While an operator of the kind ran: cycles; words of `stream_words`; rows of `array_rows`.
    *(f"op_{kind}_cycles" for kind in OPERATOR_KINDS),
    *(f"op_{kind}_words" for kind in OPERATOR_KINDS),
    *(f"op_{kind}_rows" for kind in ARRAY_KINDS),
)


def registers_of(config):
    """Return those of `REGISTERS` that a chip of an `ArchConfig` has."""
    return {name: reg for name, reg in REGISTERS.items() if config.parity or name not in _OF_PARITY}


def counter_offset(name):
    """Return the byte offset of a counter's low word."""
    return COUNTER_BASE + 8 * COUNTERS.index(name)
