"""What a simulation sees of each operator."""

from amaranth.hdl import unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out

from .spec.formats import ACT_WIDTH, BLOCK_LEN, EXP_WIDTH, RESIDUAL_WIDTH

__all__ = ["PROBES", "TILE_UNITS", "UNITS", "probe_signature", "units_layout"]

#: Probes: what `trace` shows of each operator, and the number of each kind in a trace file.
PROBES = {"block": 0, "residual": 1, "key_value": 2, "logits": 3, "place": 4}

#: What each unit does in a cycle, a bit each: a row is fed, rows wait for weights, a weight word is
#: taken, a matrix job is inside, results leave the accumulators, the norm, the softmax, attention,
#: embedding or rope, keys and values are written, a beat is read, or written, the prefetch is full.
UNITS = (
    "feeding", "starved", "loading", "matmul", "drain", "norm", "softmax", "attention", "tables",
    "kv_writer", "read", "write", "stalled",
)  # fmt: skip

#: Those of `UNITS` that every tile, or its memory channel, has.
TILE_UNITS = (
    "feeding", "starved", "loading", "matmul", "drain", "softmax", "attention", "read", "write",
    "stalled",
)  # fmt: skip


def probe_signature(config):
    """Return the signature of all probes.

    ``block``: a block as the activation memory stores it, ``index`` its place in the row.
    ``residual``: a beat as it is stored. ``key_value``: a block appended to the cache, ``index`` =
    is_value << 12 | head << 4 | block. ``logits``: a beat of logits. ``place``: where a row of the
    next pass belongs: position, and request << 32. The last one of a row counts.
    """
    block = BLOCK_LEN * ACT_WIDTH + EXP_WIDTH
    beat = config.lanes * RESIDUAL_WIDTH
    widths = {"block": block, "residual": beat, "key_value": block, "logits": beat, "place": 64}
    return wiring.Signature({
        name: Out(
            wiring.Signature({
                "valid": Out(1),
                "op": Out(16),
                "row": Out(16),
                "index": Out(16),
                "data": Out(widths[name]),
            })
        )
        for name in PROBES
    })


def units_layout(tiles=1):
    """Return the layout of the units' trace: at most 64 bits.

    First the bits of `UNITS`, those of tile 0 among them; ``running`` and ``op``, the operator that
    runs; then for each further tile t the bits of `TILE_UNITS`, named ``<unit>_<t>``.
    """
    further = (f"{name}_{tile}" for tile in range(1, tiles) for name in TILE_UNITS)
    return data.StructLayout({
        **dict.fromkeys(UNITS, unsigned(1)),
        "running": unsigned(1),
        "op": unsigned(16),
        **dict.fromkeys(further, unsigned(1)),
    })
