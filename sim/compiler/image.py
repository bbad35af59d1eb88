"""Packs tensors the way `hw/spec/layout.py` says, without a Python loop over elements."""

from math import gcd

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
    """Bytes of a linear operator made of `Linear` sections in one channel, the fullest."""
    blocks = sections[0].weight.shape[1] // BLOCK_LEN
    words = layout.strip_words(config, blocks, _has_bias(sections))
    strips = sum(map(strip_count, sections))
    return layout.channel_strips(config, strips, 0) * words * config.cols


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
        `linear_bytes` zeros for each memory channel.
    alternate : bool
        Strips of all sections take turns, instead of section after section.
    """
    bias = _has_bias(sections)
    most = layout.channel_strips(config, sum(map(strip_count, sections)), 0)
    out = out.reshape(config.tiles, most, -1)
    step = len(sections) if alternate else 1
    start = 0
    for index, section in enumerate(sections):
        _pack_strips(config, section, out, index if alternate else start, step, bias)
        start += strip_count(section)


def _has_bias(sections):
    return any(section.bias is not None for section in sections)


def _pack_strips(config, section, out, first, step, bias):
    """Pack a section, whose strips are ``first``, ``first + step``, ... of its operator."""
    count = strip_count(section)
    outputs, inputs = section.weight.shape
    header = [_channels(section.multiplier, count)]
    if bias and section.bias is not None:
        header += [_channels(half, count) for half in (section.bias, section.bias >> 16)]
    weight = section.weight
    if outputs % BLOCK_LEN:
        weight = np.concatenate([
            weight,
            np.zeros((count * BLOCK_LEN - outputs, inputs), dtype=np.int8),
        ])
    members = config.strip_tiles
    weight = weight.reshape(count, members, config.own_subs, config.cols, inputs)
    share = layout.HEADER_BYTES // members
    body = share * (3 if bias else 1)
    # A group has every ``period``-th strip of the section, from its first or a later one.
    period = config.groups // gcd(step, config.groups)
    for at in range(min(period, count)):
        group, place = layout.strip_place(config, first + at * step)
        places = slice(place, None, period * step // config.groups)
        for member in range(members):
            strips = out[group * members + member, places][: len(range(at, count, period))]
            for index, numbers in enumerate(header):
                halves = numbers.reshape(count, members, share)[at::period, member]
                strips[:, index * share : (index + 1) * share] = halves
            # Channels of a substrip become bytes of a word, elements of the reduction its words.
            substrips = weight[at::period, member].transpose(0, 1, 3, 2)
            data = np.ascontiguousarray(substrips).reshape(len(strips), -1)
            strips[:, body:] = data.view(np.uint8)


def _channels(values, count):
    """Bytes of each channel's number, its low half: ``count`` strips, padded with zeros."""
    padded = np.zeros(count * BLOCK_LEN, dtype="<u2")
    padded[: len(values)] = values & 0xFFFF
    return padded.view(np.uint8)


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
