"""One head's part of a KV page, to and from bytes."""

from dataclasses import dataclass

import numpy as np

from hw.spec import layout
from hw.spec.formats import BLOCK_LEN

__all__ = ["HeadCache", "pack_head", "unpack_head"]


@dataclass(frozen=True)
class HeadCache:
    """Keys and values of one head at some positions.

    Parameters
    ----------
    k, v : int8 (positions, head_dim)
        Elements.
    k_exponents, v_exponents : uint8 (positions, blocks)
        Exponents.
    """

    k: np.ndarray
    k_exponents: np.ndarray
    v: np.ndarray
    v_exponents: np.ndarray


def pack_head(config, cache):
    """Return the bytes of one head in one page; ``cache`` holds ``page_len`` positions."""
    page_len, cols = config.page_len, config.cols
    if cache.k.shape[0] != page_len:
        raise ValueError(f"cache must hold page_len ({page_len}) positions, not {len(cache.k)}")
    blocks = cache.k.shape[1] // BLOCK_LEN
    out = np.zeros(layout.head_bytes(config, blocks), dtype=np.uint8)
    k, v_exponents, v = _views(config, blocks, out)
    k[:, :, 0] = cache.k_exponents.reshape(-1, cols, blocks).transpose(0, 2, 1)
    elements = cache.k.view(np.uint8).reshape(-1, cols, blocks, BLOCK_LEN)
    k[:, :, 1:] = elements.transpose(0, 2, 3, 1)
    v_exponents[:] = cache.v_exponents.T
    elements = cache.v.view(np.uint8).reshape(page_len, blocks, config.subs, cols)
    v[:] = elements.transpose(1, 2, 0, 3)
    return out


def unpack_head(config, blocks, data):
    """Return the `HeadCache` of ``page_len`` positions from a head's bytes (uint8)."""
    dim = blocks * BLOCK_LEN
    k, v_exponents, v = _views(config, blocks, data)
    elements = np.ascontiguousarray(k[:, :, 1:].transpose(0, 3, 1, 2))
    exponents = np.ascontiguousarray(k[:, :, 0].transpose(0, 2, 1))
    values = np.ascontiguousarray(v.transpose(2, 0, 1, 3))
    return HeadCache(
        k=elements.reshape(config.page_len, dim).view(np.int8),
        k_exponents=exponents.reshape(config.page_len, blocks),
        v=values.reshape(config.page_len, dim).view(np.int8),
        v_exponents=v_exponents.T.copy(),
    )


def _views(config, blocks, data):
    """Views of K (group, block, word, position), V exponents and V (block, sub, position, element).

    Word 0 of K holds exponents, words from 1 elements.
    """
    page_len, cols = config.page_len, config.cols
    k_end, v_start = layout.v_exp_offset(config, blocks), layout.v_offset(config, blocks)
    end = layout.head_bytes(config, blocks)
    k = data[:k_end].reshape(page_len // cols, blocks, 1 + BLOCK_LEN, cols)
    v_exponents = data[k_end:v_start].reshape(blocks, page_len)
    v = data[v_start:end].reshape(blocks, config.subs, page_len, cols)
    return k, v_exponents, v
