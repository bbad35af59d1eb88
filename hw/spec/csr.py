"""Register map of the AXI4-Lite port: 32-bit registers at byte offsets."""

from dataclasses import dataclass

__all__ = [
    "CONTROL",
    "COUNTERS",
    "COUNTER_BASE",
    "ERRORS",
    "ID_VALUE",
    "IRQ",
    "REGISTERS",
    "RING_ENTRY_BYTES",
    "STATUS",
    "VERSION_VALUE",
    "Register",
    "counter_offset",
]

ID_VALUE = 0x4F525253  # "SRRO"
VERSION_VALUE = 0x00_01_00_00  # major.minor.patch.0


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
    "control": Register(0x040, "wo", "CONTROL bits, each acts when written as 1"),
    "status": Register(0x044, "ro", "STATUS bits"),
    "error_cause": Register(0x048, "ro", "why the chip stopped: ERRORS; kept until the next start"),
    "error_addr": Register(0x04C, "ro", "address or operator that the error is about"),
    "error_op": Register(0x050, "ro", "op_id of the operator that was running"),
    "irq_enable": Register(0x054, "rw", "IRQ bits that raise the interrupt line"),
    "irq_status": Register(0x058, "rw", "IRQ bits; writing 1 clears a bit"),
    "program_addr": Register(0x060, "rw", "address of the first operator word"),
    "prompt_addr": Register(0x064, "rw", "address of the prompt: 32-bit token ids"),
    "prompt_len": Register(0x068, "rw", "tokens of the prompt, at least 1"),
    "max_tokens": Register(0x06C, "rw", "tokens to write at most, at least 1"),
    "eos_token": Register(0x070, "rw", "token that ends the sequence; 0xFFFFFFFF for none"),
    "start_pos": Register(0x074, "rw", "position of the first prompt token: 0, or a kept context"),
    "page_table_addr": Register(0x078, "rw", "address of the page table: 32-bit page addresses"),
    "page_count": Register(0x07C, "rw", "pages in the table"),
    "image_base": Register(0x080, "rw", "region of weights and program (read only): first byte"),
    "image_limit": Register(0x084, "rw", "... and the byte after its last"),
    "kv_base": Register(0x088, "rw", "region of the KV cache (read, write)"),
    "kv_limit": Register(0x08C, "rw", "... and the byte after its last"),
    "host_base": Register(0x090, "rw", "region of prompt, page table and token ring (read, write)"),
    "host_limit": Register(0x094, "rw", "... and the byte after its last"),
    "ring_addr": Register(0x098, "rw", "address of the token ring"),
    "ring_len": Register(0x09C, "rw", "entries of the token ring: a power of two"),
    "ring_head": Register(0x0A0, "ro", "entries written since start"),
    "watchdog": Register(0x0A4, "rw", "cycles without progress before a trap; 0: never"),
    "max_prefill": Register(0x0A8, "rw", "rows of a prefill pass at most; 0: max_rows"),
}

#: Bits of ``control``.
CONTROL = {"start": 0, "stop": 1}

#: Bits of ``status``.
STATUS = {"busy": 0, "done": 1, "error": 2, "eos": 3}

#: Bits of ``irq_enable`` and ``irq_status``.
IRQ = {"token": 0, "done": 1, "error": 2}

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
    "bad_request": 10,  # prompt_len or max_tokens of 0, a ring that is no power of two
    "bad_page": 11,  # page outside the KV region or not aligned; error_addr: its address
    "bad_token": 12,  # prompt token that the vocabulary does not have; error_addr: the token
}

#: A token ring entry: token (32 bits), position (32), cycle counter when it was written (64).
RING_ENTRY_BYTES = 16

#: 64-bit counters, low word first, cleared by start; counting while busy. In cycles unless said.
COUNTER_BASE = 0x100
COUNTERS = (
    "cycles",  # since start
    "passes",  # passes over the program
    "tokens",  # tokens written
    "read_beats",  # beats taken from the memory port
    "write_beats",  # beats given to the memory port
    "array_rows",  # activation rows fed to the array: times rows x cols is MACs
    "array_starved",  # the array had rows to feed and no weights
    "weight_words",  # words of cols bytes loaded into the array
    "stream_stalled",  # the prefetch FIFO was full: the memory waited for the array
    "matmul_busy",  # a matrix operator was running
    "norm_busy",
    "attention_busy",
    "softmax_busy",
    "embed_busy",
    "post_busy",  # results were on their way from the accumulators
    "saturations",  # results clipped by the requantiser, in lanes
)


def counter_offset(name):
    """Return the byte offset of a counter's low word."""
    return COUNTER_BASE + 8 * COUNTERS.index(name)
