"""Small chips that benches of several units are built for."""

__all__ = ["CHIPS"]

_NARROW = {"rows": 4, "cols": 4, "lanes": 4, "port_bytes": 4, "max_rows": 8, "page_len": 32}
_WIDE = {"rows": 16, "cols": 16, "lanes": 16, "port_bytes": 16, "max_rows": 16, "page_len": 64}

#: Fields of `ArchConfig` that differ from its defaults.
CHIPS = {
    "4x4": _NARROW | {"max_context": 96, "max_head_dim": 64, "max_dim": 96},
    "16x16": _WIDE | {"max_context": 256, "max_head_dim": 128, "max_dim": 128},
    "16x16_port64": _WIDE
    | {"port_bytes": 64, "max_context": 192, "max_head_dim": 96, "max_dim": 128},
    "8x32": _WIDE
    | {"rows": 8, "cols": 32, "port_bytes": 32, "max_context": 64, "max_head_dim": 32},
}
