"""What a host reads and writes in the chip's memory while the chip is there."""

from dataclasses import fields

import numpy as np

from hw.spec import layout
from hw.spec.formats import BLOCK_LEN
from hw.spec.requests import (
    CANDIDATE_BYTES,
    EVENT_BYTES,
    REQUEST_BYTES,
    decode_candidates,
    decode_event,
    encode_request,
)
from sim.compiler.kv_page import HeadCache, pack_head, unpack_head
from sim.compiler.memory_map import EVENTS, REQUESTS, TOKEN_BYTES

__all__ = ["HostImage"]


class HostImage:
    """The host's view of a compiled model's memory.

    Parameters
    ----------
    compiled : CompiledModel
        Configuration, shape and memory map.
    memory : uint8 array
        The memory, all channels, mapped from its file.
    """

    def __init__(self, compiled, memory):
        size = compiled.memory_map.size_bytes
        if memory.dtype != np.uint8 or memory.shape != (size,):
            raise ValueError(
                f"memory must be uint8 of shape ({size},), not {memory.dtype} of {memory.shape}"
            )
        self.compiled = compiled
        self.memory = memory
        self.map = compiled.memory_map

    def write_prompt(self, place, tokens):
        """Write the prompt of a place; return its address.

        Raises
        ------
        ValueError
            No token, more than the context has room for, or one that the model does not have.
        """
        vocab, context = self.compiled.shape.vocab, self.map.context
        if not 1 <= len(tokens) <= context:
            raise ValueError(f"a prompt must have 1 to {context} tokens, not {len(tokens)}")
        for token in tokens:
            if not 0 <= token < vocab:
                raise ValueError(f"a token must be 0 to {vocab - 1}, not {token!r}")
        return self._write_words(self.map.prompt_addr(place), tokens)

    def write_page_table(self, place, pages):
        """Write the page table of a place, numbers of pages; return its address.

        Raises
        ------
        ValueError
            More pages than a sequence may have, or one that is not in the KV region.
        """
        most = self.map.sequence_pages
        if len(pages) > most:
            raise ValueError(f"the page table has room for {most} pages, not {len(pages)}")
        for page in pages:
            self.map.page_addr(page)
        return self._write_words(self.map.page_table_addr(place), pages)

    def write_request(self, number, **values):
        """Write request ``number`` since the start into the ring; return its address.

        Parameters and errors as for `encode_request`.
        """
        addr = self.map.request_ring_addr + number % REQUESTS * REQUEST_BYTES
        start = self.map.offset(addr)
        raw = encode_request(**values)
        self.memory[start : start + REQUEST_BYTES] = np.frombuffer(raw, np.uint8)
        return addr

    def read_events(self, start, stop):
        """Return events ``start`` to ``stop`` (not included), counted from the chip's start."""
        if stop - start > EVENTS:
            raise ValueError(f"the ring holds {EVENTS} events, not {stop - start}")
        ring = self.map.offset(self.map.event_ring_addr)
        places = (ring + number % EVENTS * EVENT_BYTES for number in range(start, stop))
        return [decode_event(self.memory[at : at + EVENT_BYTES].tobytes()) for at in places]

    def read_candidates(self, place, count):
        """Return the ``count`` candidates of a place, or as many as there are: (token, logit)."""
        start = self.map.offset(self.map.candidates_addr(place))
        raw = self.memory[start : start + count * CANDIDATE_BYTES]
        return decode_candidates(raw.tobytes())

    def read_head(self, page, layer, head):
        """Return the `HeadCache` of one page, layer and KV head."""
        return unpack_head(self.compiled.config, self._blocks, self._head_bytes(page, layer, head))

    def write_head(self, page, layer, head, cache):
        """Write the `HeadCache` of one page, layer and KV head."""
        self._head_bytes(page, layer, head)[:] = pack_head(self.compiled.config, cache)

    def read_cache(self, pages, length):
        """Return the first ``length`` positions of a sequence whose pages are ``pages``.

        Returns
        -------
        HeadCache
            Its arrays have two more axes in front: (layers, KV heads, positions, ...).
        """
        shape, page_len = self.compiled.shape, self.compiled.config.page_len
        pages = list(pages)[: -(-length // page_len)]
        if len(pages) * page_len < length:
            raise ValueError(f"{len(pages)} pages hold fewer than {length} positions")

        def gather(name):
            return np.stack([
                np.stack([
                    np.concatenate([getattr(self.read_head(p, layer, head), name) for p in pages])[
                        :length
                    ]
                    for head in range(shape.kv_heads)
                ])
                for layer in range(shape.layers)
            ])

        names = [field.name for field in fields(HeadCache)]
        return HeadCache(**{name: gather(name) for name in names})

    @property
    def _blocks(self):
        return self.compiled.shape.head_dim // BLOCK_LEN

    def _head_bytes(self, page, layer, head):
        shape = self.compiled.shape
        for name, value, limit in (("layer", layer, shape.layers), ("head", head, shape.kv_heads)):
            if not 0 <= value < limit:
                raise ValueError(f"{name} must be 0 to {limit - 1}, not {value!r}")
        config = self.compiled.config
        channel, place = layout.head_place(config, head)
        stride = layout.head_bytes(config, self._blocks)
        start = self.map.offset(self.map.page_addr(page), channel)
        start += (layer * layout.channel_heads(config, shape.kv_heads) + place) * stride
        return self.memory[start : start + stride]

    def _write_words(self, addr, values):
        data = np.asarray(values, dtype=f"<u{TOKEN_BYTES}").view(np.uint8)
        start = self.map.offset(addr)
        self.memory[start : start + len(data)] = data
        return addr
