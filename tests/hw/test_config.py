import re

import pytest

from hw.spec.config import ArchConfig
from hw.spec.presets import PRESETS, preset

REFUSED = {
    "rows must be 4, 8, 16 or 32, not 5": {"rows": 5},
    "rows must be 4, 8, 16 or 32, not '16'": {"rows": "16"},
    "cols must be 4, 8, 16 or 32, not 64": {"cols": 64},
    "lanes must be a power of two from 2 to 8 (cols, and 16 at most), not 16": {
        "cols": 8,
        "lanes": 16,
    },
    "port_bytes must be a power of two from 16 (cols) to 64, not 8": {"port_bytes": 8},
    "max_rows must be a power of two from 2 to 128, not 256": {"max_rows": 256},
    "max_seqs must be 1 to 64 (max_rows), not 65": {"max_seqs": 65},
    "max_seqs must be 1 to 64 (max_rows), not 0": {"max_seqs": 0},
    "kv_pages must be 2 at least, not 1": {"kv_pages": 1},
    "max_dim must be a positive multiple of 32, not 100": {"max_dim": 100},
    "max_head_dim must be a positive multiple of 32, not 0": {"max_head_dim": 0},
    "act_blocks must be positive, not -1": {"act_blocks": -1},
    "page_len must be a power of two from 64, not 32": {"port_bytes": 64, "page_len": 32},
    "max_context must be a positive multiple of page_len (64), not 100": {"max_context": 100},
    "max_context must be 255 pages of 64 positions at most, not 16384": {"max_context": 256 * 64},
    "list_len must be a power of two from 8 to 64, not 4": {"list_len": 4},
    "list_len must be a power of two from 8 to 64, not 24": {"list_len": 24},
    "list_len must be a power of two from 8 to 64, not 128": {"list_len": 128},
    "stream_depth must be a power of two from 16, not 48": {"stream_depth": 48},
    "tiles must be 1, 2 or 4, not 3": {"tiles": 3},
    "tiles must be 1, 2 or 4, not 8": {"tiles": 8},
    "pe_registers must be True or False, not 1": {"pe_registers": 1},
    "parity must be True or False, not 'odd'": {"parity": "odd"},
}


@pytest.mark.parametrize("message", REFUSED)
def test_configuration_must_be_buildable(message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ArchConfig(**REFUSED[message])


def test_limits_are_allowed():
    config = ArchConfig(max_rows=128, max_context=255 * 64)
    assert config.max_pages == 255


def test_preset_must_be_known():
    with pytest.raises(ValueError, match=f"preset must be one of {', '.join(PRESETS)}, not 'huge'"):
        preset("huge")


@pytest.mark.parametrize("name", PRESETS)
def test_strips_and_blocks_hold_whole_tiles(name):
    config = preset(name)
    assert config.subs * config.cols == 32
    assert config.tiles_per_block * config.rows == 32
    assert config.beats * config.lanes == 32


@pytest.mark.parametrize("cols", [4, 8, 16, 32])
@pytest.mark.parametrize("tiles", [1, 2, 4])
def test_every_tile_has_a_part_of_a_strip_or_a_turn(cols, tiles):
    config = ArchConfig(cols=cols, lanes=min(cols, 16), port_bytes=cols, tiles=tiles)
    assert config.strip_tiles * config.groups == tiles
    assert config.strip_tiles * config.own_subs * cols == 32
    assert config.strip_tiles * config.own_beats * config.lanes == 32
    assert config.own_beats >= 1
