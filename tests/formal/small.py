"""The smallest chip that units are proved in."""

from hw.spec.config import ArchConfig

__all__ = ["SMALL", "config"]

SMALL = {
    "rows": 4,
    "cols": 4,
    "lanes": 4,
    "port_bytes": 4,
    "max_rows": 4,
    "max_seqs": 2,
    "max_dim": 32,
    "act_blocks": 4,
    "max_context": 64,
    "page_len": 32,
    "max_head_dim": 32,
    "kv_pages": 4,
    "stream_depth": 16,
}


def config(**fields):
    """Return a configuration as small as it can be, but for some fields."""
    return ArchConfig(**SMALL | fields)
