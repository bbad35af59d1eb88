"""The KV cache of several sequences in a channel, as bytes in pages that lie anywhere."""

import numpy as np

from hw.spec import layout
from sim.compiler.kv_page import pack_head, unpack_head

__all__ = ["KvMemory"]


class KvMemory:
    """Pages of random bytes in random order, and where everything lies in them.

    ``pages`` is the page table: the address of a page, by (slot, page).

    Parameters
    ----------
    config : ArchConfig
    blocks, kv_heads, layers : int
        Blocks of a head, heads of a layer in the channel, layers.
    layer : int
        The layer in question.
    """

    def __init__(self, config, rng, *, blocks, kv_heads, layers=2, layer=1):
        self.config = config
        self.blocks = blocks
        self.kv_heads = kv_heads
        self.head_stride = layout.head_bytes(config, blocks)
        self.kv_offset = layer * kv_heads * self.head_stride
        size = layout.head_bytes(config, blocks) * kv_heads * layers
        self.base = 0x9000_0000 + config.align_bytes
        keys = [(slot, page) for slot in range(config.max_seqs) for page in range(config.max_pages)]
        self.bytes = rng.integers(0, 256, (len(keys) + 1) * size, dtype=np.uint8)
        order = rng.permutation(len(keys) + 1)[: len(keys)]
        self.pages = {
            key: self.base + int(number) * size for key, number in zip(keys, order, strict=True)
        }

    def _place(self, slot, page, head):
        start = self.pages[slot, page] - self.base + self.kv_offset + head * self.head_stride
        return slice(start, start + self.head_stride)

    def head(self, slot, page, head):
        """Return the `HeadCache` of a head in a page."""
        place = self._place(slot, page, head)
        return unpack_head(self.config, self.blocks, self.bytes[place].copy())

    def store(self, slot, page, head, cache):
        """Write a `HeadCache`."""
        self.bytes[self._place(slot, page, head)] = pack_head(self.config, cache)

    def append(self, slot, pos, head, index, *, is_value, q, exp):
        """Store one block as `hw.spec.layout` says, the slow way."""
        page, row = divmod(pos, self.config.page_len)
        cache = self.head(slot, page, head)
        elements, exponents = (
            (cache.v, cache.v_exponents) if is_value else (cache.k, cache.k_exponents)
        )
        elements[row, 32 * index : 32 * index + 32] = q
        exponents[row, index] = exp
        self.store(slot, page, head, cache)

    def write(self, commands, beats):
        """Write what a unit asked the memory controller for."""
        size = self.config.port_bytes
        beats = iter(beats)
        for command in commands:
            assert command["addr"] % size == 0
            for number in range(command["beats"]):
                beat = next(beats)
                for lane in range(size):
                    if beat["strobe"] >> lane & 1:
                        place = command["addr"] - self.base + number * size + lane
                        assert 0 <= place < len(self.bytes)
                        self.bytes[place] = beat["data"][lane]
        assert next(beats, None) is None

    def read(self, addr, count):
        """Return bytes from an address on."""
        start = addr - self.base
        assert 0 <= start <= len(self.bytes) - count
        return self.bytes[start : start + count]
