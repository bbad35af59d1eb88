"""Random configurations, of sizes whose simulators are built and run in seconds."""

from random import Random

from hw.spec.config import ArchConfig
from hw.spec.formats import BLOCK_LEN

__all__ = ["MOST_ELEMENTS", "describe_chip", "draw_chip"]

MOST_ELEMENTS = 256  #: processing elements of all tiles together

#: Sizes of an array and how often they are drawn: small ones build and run fastest.
_SIDES = {4: 6, 8: 4, 16: 2, 32: 1}
_TILES = {1: 6, 2: 3, 4: 1}


def _one_of(rng, weights, allowed=lambda value: True):
    values = [value for value in weights if allowed(value)]
    return rng.choices(values, [weights[value] for value in values])[0]


def _powers(first, last):
    return [1 << n for n in range(first.bit_length() - 1, last.bit_length())]


def draw_chip(seed):
    """Return the `ArchConfig` of a seed: always one that it allows."""
    rng = Random(f"chip {seed}")
    tiles = _one_of(rng, _TILES)
    rows = _one_of(rng, _SIDES, lambda n: n * 4 * tiles <= MOST_ELEMENTS)
    cols = _one_of(rng, _SIDES, lambda n: n * rows * tiles <= MOST_ELEMENTS)
    lanes = rng.choice(_powers(2, min(cols, 16)))
    port_bytes = rng.choice(_powers(cols, 64)[:2] * 3 + _powers(cols, 64))
    max_rows = _one_of(rng, {2: 1, 4: 3, 8: 5, 16: 3, 32: 1})
    align = max(port_bytes, cols, 2 * lanes)
    page_len = rng.choice([n for n in (32, 32, 32, 64, 128) if n >= align])
    pages = rng.randint(1, max(1, 192 // page_len))
    return ArchConfig(
        rows=rows,
        cols=cols,
        lanes=lanes,
        port_bytes=port_bytes,
        max_rows=max_rows,
        max_dim=BLOCK_LEN * rng.randint(1, 5),
        act_blocks=rng.randint(4, 32),
        max_context=pages * page_len,
        page_len=page_len,
        max_head_dim=BLOCK_LEN * _one_of(rng, {1: 3, 2: 4, 3: 1, 4: 1}),
        max_seqs=rng.randint(1, min(max_rows, 6)),
        kv_pages=rng.randint(2, 24),
        list_len=rng.choice((8, 8, 16, 32, 64)),
        stream_depth=rng.choice((16, 32, 64, 128)),
        tiles=tiles,
        pe_registers=rng.random() < 0.4,
        parity=rng.random() < 0.3,
    )


def describe_chip(config):
    """Return a configuration in a few words."""
    return (
        f"{config.rows}x{config.cols}, lanes {config.lanes}, port {config.port_bytes}, "
        f"tiles {config.tiles}, max_rows {config.max_rows}, page_len {config.page_len}"
        f"{', pe_registers' if config.pe_registers else ''}{', parity' if config.parity else ''}"
    )
