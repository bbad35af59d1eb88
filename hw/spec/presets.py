"""Configurations by name; every published number names its preset."""

from .config import ArchConfig

__all__ = ["PRESETS", "preset"]

PRESETS = {
    "tiny": ArchConfig(
        rows=4, cols=4, lanes=4, port_bytes=4, max_rows=8, max_dim=128, act_blocks=32,
        max_context=256, page_len=32, max_head_dim=64, stream_depth=64,
        max_seqs=4, kv_pages=64, list_len=8,
    ),
    "small": ArchConfig(
        rows=16, cols=16, lanes=16, port_bytes=16, max_rows=64, max_dim=2048, act_blocks=384,
        max_context=1024, page_len=64, max_head_dim=256, stream_depth=512,
        max_seqs=16, kv_pages=1024, list_len=32,
    ),
    # Small, four times: a Kria KV260. Four ports at 250 MHz are 16 GB/s of its memory's 19.2.
    "kv260": ArchConfig(
        rows=16, cols=16, lanes=16, port_bytes=16, max_rows=64, max_dim=2048, act_blocks=384,
        max_context=1024, page_len=64, max_head_dim=256, stream_depth=512,
        max_seqs=16, kv_pages=1024, list_len=32, tiles=4,
    ),
    # A Radiona ULX3S with an LFE5U-85F: 16-bit SDRAM, 208 block RAMs, 156 multipliers. Memory gives
    # two weights a cycle: more lanes would only wait for it.
    "ulx3s": ArchConfig(
        rows=8, cols=8, lanes=2, port_bytes=8, max_rows=8, max_dim=512, act_blocks=96,
        max_context=512, page_len=32, max_head_dim=64, stream_depth=128,
        max_seqs=4, kv_pages=256, list_len=8, pe_registers=True,
    ),
}  # fmt: skip


def preset(name):
    """Return the configuration called ``name``; ValueError names those there are."""
    if name not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, not {name!r}")
    return PRESETS[name]
