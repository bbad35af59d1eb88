"""Packs tensors the way `hw/spec/layout.py` says, without a Python loop over elements."""

import numpy as np

from hw.spec import layout
from hw.spec.formats import BLOCK_LEN

__all__ = [
    "linear_bytes",
    "norms_bytes",
    "pack_linear",
    "pack_norms",
    "pack_rope",
    "pack_table",
    "rope_bytes",
    "strip_count",
    "table_bytes",
]


def strip_count(linear):
    """Strips of 32 output channels that hold a `Linear`."""
    return -(-linear.weight.shape[0] // BLOCK_LEN)


def linear_bytes(config, sections):
    """Bytes of a linear operator made of `Linear` sections."""
    blocks = sections[0].weight.shape[1] // BLOCK_LEN
    words = layout.strip_words(config, blocks, _has_bias(sections))
    return sum(map(strip_count, sections)) * words * config.cols


def pack_linear(config, sections, out, *, alternate=False):
    """Pack a linear operator.

    Parameters
    ----------
    config : ArchConfig
        What the image is for.
    sections : sequence of Linear
        Sections in the order of their output channels. A missing bias counts as zeros where
        another section has one.
    out : uint8 array
        `linear_bytes` zeros.
    alternate : bool
        Strips of all sections take turns, instead of section after section.
    """
    bias = _has_bias(sections)
    strips = out.reshape(sum(map(strip_count, sections)), -1)
    start = 0
    for index, section in enumerate(sections):
        count = strip_count(section)
        if alternate:
            _pack_strips(config, section, strips[index :: len(sections)], bias)
        else:
            _pack_strips(config, section, strips[start : start + count], bias)
        start += count


def _has_bias(sections):
    return any(section.bias is not None for section in sections)


def _pack_strips(config, section, out, bias):
    count = len(out)
    outputs, inputs = section.weight.shape
    out[:, : layout.HEADER_BYTES] = _channels(section.multiplier, count, "<u2")
    header = layout.HEADER_BYTES
    if bias and section.bias is not None:
        for half in (section.bias & 0xFFFF, section.bias >> 16 & 0xFFFF):
            out[:, header : header + layout.HEADER_BYTES] = _channels(half, count, "<u2")
            header += layout.HEADER_BYTES
    header = layout.HEADER_BYTES * (3 if bias else 1)
    weight = section.weight
    if outputs % BLOCK_LEN:
        weight = np.concatenate([
            weight,
            np.zeros((count * BLOCK_LEN - outputs, inputs), dtype=np.int8),
        ])
    # Channels of a substrip become the bytes of a word, elements of the reduction its words.
    substrips = weight.reshape(count, config.subs, config.cols, inputs).transpose(0, 1, 3, 2)
    body = np.ascontiguousarray(substrips).reshape(count, BLOCK_LEN * inputs)
    out[:, header:] = body.view(np.uint8)


def _channels(values, count, dtype):
    """Bytes of one number for each channel, a row for each strip, padded with zeros."""
    padded = np.zeros(count * BLOCK_LEN, dtype=dtype)
    padded[: len(values)] = values
    return padded.view(np.uint8).reshape(count, -1)


def norms_bytes(norms):
    """Bytes of the gains of norms that one operator loads."""
    return sum(2 * len(norm.gain) for norm in norms)


def pack_norms(norms, out):
    """Pack the gains of norms, one after the other, into ``out``."""
    out[:] = np.concatenate([norm.gain for norm in norms]).astype("<i2").view(np.uint8)


def table_bytes(config, rows, length):
    """Bytes of a table of embedding rows, of tokens or of positions."""
    return rows * layout.embed_row_words(config, length // BLOCK_LEN) * config.cols


def pack_table(config, elements, multipliers, out):
    """Pack a table of embedding rows into ``out``, which is zeros.

    Parameters
    ----------
    config : ArchConfig
        What the image is for.
    elements : int8 array (rows, length)
    multipliers : uint16 array (rows,)
    """
    count, length = elements.shape
    rows = out.reshape(count, -1)
    rows[:, :2] = multipliers.astype("<u2").view(np.uint8).reshape(count, 2)
    rows[:, config.entry_bytes : config.entry_bytes + length] = elements.view(np.uint8)


def rope_bytes(config, model, context):
    """Bytes of the rope table for positions below ``context``."""
    blocks = model.shape.head_dim // BLOCK_LEN
    return context * layout.rope_row_words(config, blocks) * config.cols


def pack_rope(config, model, context, out):
    """Pack the first ``context`` rows of the rope table into ``out``, which is zeros."""
    rows = out.reshape(context, -1)
    table = np.ascontiguousarray(model.rope[:context], dtype="<i2").reshape(context, -1)
    rows[:, : 2 * table.shape[1]] = table.view(np.uint8)
