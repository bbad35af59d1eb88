"""Where every byte of the memory image lies: read by the compiler, and by the hardware.

A *word* is ``cols`` bytes, a *strip* 32 output channels, a *block* 32 elements of the reduction.
All tables are little-endian. Every stream starts at a multiple of ``config.align_bytes``.

Each tile has a memory channel of its own. Everything but linear operators and the KV cache is in
channel 0 alone. A linear operator has the same address in all channels; its strips, counted in the
order of the stream, are dealt to the groups of tiles in turn, and each of the ``strip_tiles`` tiles
of a group has its share of the strip: ``32 / strip_tiles`` adjacent output channels.

Linear operator, in one channel, one strip of its group after the other::

    share x u16 multiplier (0 for a padded channel)
    share x u16 low halves of the bias, share x u16 high halves      only with the bias bit
    for each substrip of cols channels of the share:
        for each block of the reduction:
            32 words: word i holds element i of the block for the cols channels (int8)

Of ``glu`` strips of gates and ups take turns, or there are gates alone; of ``qkv`` come those of q,
of k, and of v.

Norm: ``32 * blocks`` gains, i16. Head norm: ``32 * head_blocks`` gains of q, then of k. Embedding,
a row for each token or position, padded to the alignment::

    one table entry (2 * lanes bytes): u16 multiplier in front, zeros
    32 * blocks x int8

Rope table, a row for each position: ``16 * blocks`` pairs (cosine i16, sine i16), padded likewise.

KV cache: a page holds ``page_len`` positions of one sequence for all layers and KV heads. It has
the same address in all channels, and head h is in channel h mod tiles. A layer starts at its
``kv_offset``, a head ``head_stride`` further than the one before in the same channel. In a head::

    K: for each group of cols positions, for each block of the head:
        1 word: the exponents of the cols positions (u8)
        32 words: element i of the block for the cols positions (int8)
    V exponents: for each block of the head: page_len x u8
    V: for each block of the head, for each substrip of cols elements:
        page_len words: cols elements of one position (int8)
"""

from .formats import BLOCK_LEN

__all__ = [
    "HEADER_BYTES",
    "channel_heads",
    "channel_strips",
    "embed_row_words",
    "head_bytes",
    "head_place",
    "k_bytes",
    "page_bytes",
    "rope_row_words",
    "strip_place",
    "strip_words",
    "v_exp_offset",
    "v_offset",
]

HEADER_BYTES = 2 * BLOCK_LEN  #: multipliers of one strip, in all channels together


def _padded_words(config, size):
    align = config.align_bytes
    return (size + align - 1) // align * align // config.cols


def strip_words(config, blocks, bias):
    """Words of one strip of a linear operator in one channel."""
    header = HEADER_BYTES * (3 if bias else 1)
    return (header + BLOCK_LEN * BLOCK_LEN * blocks) // config.strip_tiles // config.cols


def strip_place(config, strip):
    """Return (group of tiles that has a strip, its number among those of the group)."""
    return strip % config.groups, strip // config.groups


def channel_strips(config, strips, channel):
    """Strips of an operator's ``strips`` of which a channel has its share."""
    group = channel // config.strip_tiles
    return (strips - group + config.groups - 1) // config.groups


def embed_row_words(config, blocks):
    """Words of one row of the embedding table."""
    return _padded_words(config, config.entry_bytes + BLOCK_LEN * blocks)


def rope_row_words(config, blocks):
    """Words of one row of the rope table; ``blocks`` of one head."""
    return _padded_words(config, 2 * BLOCK_LEN * blocks)


def k_bytes(config, blocks):
    """Bytes of K of one head in one page; also where the V exponents start."""
    return config.page_len * blocks * (BLOCK_LEN + 1)


def v_exp_offset(config, blocks):
    """Byte offset of the V exponents in a head's part of a page."""
    return k_bytes(config, blocks)


def v_offset(config, blocks):
    """Byte offset of V in a head's part of a page."""
    return config.page_len * blocks * (BLOCK_LEN + 2)


def head_bytes(config, blocks):
    """Bytes of one head, K and V, in one page: the ``head_stride``."""
    return config.page_len * blocks * (2 * BLOCK_LEN + 2)


def head_place(config, head):
    """Return (channel of a KV head, its number among those of the channel)."""
    return head % config.tiles, head // config.tiles


def channel_heads(config, kv_heads):
    """KV heads of a layer that a page has room for in every channel."""
    return (kv_heads + config.tiles - 1) // config.tiles


def page_bytes(config, blocks, kv_heads, layers):
    """Bytes of one page in one channel."""
    return head_bytes(config, blocks) * channel_heads(config, kv_heads) * layers
