"""The scenarios of the whole chip: windows of three runs of the preset `tiny`."""

from scripts.waves.chip_model import OPERATORS
from scripts.waves.chip_run import CLOCK, RESET, ChipRun
from scripts.waves.scenario import Scenario
from scripts.waves.trace import Channel, Window, level, stream
from sim.harness.harness import TOP

__all__ = ["CHIP", "TRAPS"]

CORE = f"{TOP}.chip.core"
TILE = f"{CORE}.tile_0"
ARRAY = f"{TILE}.matmul.array"
RUNNING = f"{CORE}.op_id"

#: Causes of `hw.spec.csr.ERRORS` in the order of the bench's tests.
TRAPS = (
    "bad_opcode", "bad_field", "bad_address", "axi_slverr", "axi_decerr", "page_miss", "too_long",
    "watchdog", "busy_start", "bad_request", "bad_page", "bad_token",
)  # fmt: skip

SCOPES = (
    f"{TOP}.chip", CORE, TILE, f"{TILE}.streamer", ARRAY, f"{TILE}.scores", f"{TILE}.kv_reader",
    f"{CORE}.kv_writer", f"{CORE}.events",
)  # fmt: skip

#: A row of a bank is short and opening one takes long, so that bursts meet stalls of the memory.
STALLS = (("row_bytes", 64), ("banks", 2), ("row_miss_cycles", 23), ("refresh_interval", 97))


def _axi(prefix, channel, *fields):
    """Return the channel of an AXI port; a channel without ``fields`` has no payload."""
    signal = f"{TOP}.{prefix}_{channel}"
    name = f"{prefix.removesuffix('_axi')}.{channel}"
    columns = tuple((field, f"{signal}{field}") for field in fields)
    return Channel(name, columns, f"{signal}valid", f"{signal}ready")


def _probe(name, *fields):
    """Return the channel of a probe of `hw.probe`, which nothing holds up."""
    signal = f"{TOP}.trace_{name}"
    return Channel(name, tuple((f, f"{signal}_{f}") for f in fields), f"{signal}_valid")


CSR = (
    _axi("s_axil", "aw", "addr"),
    _axi("s_axil", "w", "data", "strb"),
    _axi("s_axil", "b", "resp"),
    _axi("s_axil", "ar", "addr"),
    _axi("s_axil", "r", "data", "resp"),
)
BURSTS = _axi("m0_axi", "ar", "addr", "len")
STATE = (level(f"{TOP}.chip.busy"), level(f"{TOP}.chip.error"), level(f"{TOP}.irq"))
WORDS = stream(f"{TILE}.streamer.o_words", name="words")

TOKEN = ChipRun("one_token", SCOPES, STALLS)
TRAP = ChipRun("trap_.*", SCOPES)


def _from(operator, **options):
    """Return a window from the start of an operator."""
    return Window((RUNNING, OPERATORS[operator], 1), **options)


def _chip(name, run, window, *channels, fast=False):
    return Scenario(name, run, channels, window, CLOCK, fast)


def _trap(number, cause):
    """Return the scenario of a trap: from its start to where the host has read why."""
    window = Window(
        (RESET, 0, number + 1), then=(f"{TOP}.chip.busy", 1), until=(RESET, 1), cycles=8000
    )
    return _chip(
        f"trap_{cause}",
        TRAP,
        window,
        *STATE,
        *CSR[3:],
        BURSTS,
        _axi("m0_axi", "r", "resp"),
        fast=True,
    )


CHIP = (
    _chip(
        "chip_csr_access", ChipRun("csr_access", SCOPES), Window((RESET, 0, 1), cycles=400),
        *CSR, level(f"{TOP}.irq"), fast=True,
    ),
    _chip(
        "chip_token", TOKEN,
        Window((f"{TOP}.chip.busy", 1, 1), until=(f"{TOP}.irq", 1), cycles=20_000),
        *STATE, level(f"{CORE}.running"), level(RUNNING), BURSTS,
        _axi("m0_axi", "aw", "addr", "len"), _probe("logits", "row", "index", "data"),
        stream(f"{CORE}.events.i_event", name="event"), fast=True,
    ),
    _chip(
        "chip_weight_burst", TOKEN, _from("layer 0 qkv", cycles=240),
        stream(f"{TILE}.streamer.i_descriptor", name="descriptor"), BURSTS,
        _axi("m0_axi", "r", "data", "resp", "last"), WORDS, fast=True,
    ),
    _chip(
        "chip_tile_swap", TOKEN,
        _from("layer 0 qkv", then=(f"{ARRAY}.act_valid", 1), lead=12, cycles=60),
        Channel("weight", (("row", f"{ARRAY}.weight_row"), ("data", f"{ARRAY}.weight")),
                f"{ARRAY}.weight_valid"),
        Channel("act", (("swap", f"{ARRAY}.act_swap"), ("data", f"{ARRAY}.act")),
                f"{ARRAY}.act_valid"),
        Channel("psum", (), f"{ARRAY}.psum_valid"), fast=True,
    ),
    _chip(
        "chip_qkv_pass", TOKEN,
        _from("layer 0 qkv", until=(RUNNING, OPERATORS["layer 0 attention"]), cycles=8000),
        stream(f"{TILE}.i_job", name="job"), stream(f"{TILE}.o_act", name="act"),
        _probe("block", "row", "index", "data"), _probe("key_value", "row", "index", "data"),
        stream(f"{CORE}.kv_writer.o_write", name="write"),
        stream(f"{CORE}.kv_writer.o_wdata", name="wdata"), fast=True,
    ),
    _chip(
        "chip_attention", TOKEN,
        _from("layer 0 attention", until=(RUNNING, OPERATORS["layer 0 o"]), cycles=8000),
        stream(f"{TILE}.kv_reader.o_descriptor", name="descriptor"),
        stream(f"{TILE}.scores.i_score", name="score"), stream(f"{TILE}.o_act", name="act"),
        _probe("block", "row", "index", "data"), fast=True,
    ),
    *(_trap(number, cause) for number, cause in enumerate(TRAPS)),
)  # fmt: skip
