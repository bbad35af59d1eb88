"""Layouts of what the units tell each other: matrix jobs and the labels of their results."""

from amaranth.hdl import Mux, signed, unsigned
from amaranth.lib import data, enum

from .spec.formats import BLOCK_LEN, MULTIPLIER_WIDTH
from .spec.sampling import RANDOM_WIDTH, TEMPERATURE_MULTIPLIER_WIDTH, TEMPERATURE_SHIFT_WIDTH

__all__ = [
    "Dest",
    "RowScale",
    "draw_layout",
    "is_attention",
    "job_subs",
    "last_tiles",
    "matmul_job",
    "result_label",
    "row_place",
    "sampling_layout",
    "segment_layout",
]


class Dest(enum.Enum, shape=3):
    """What a matrix job computes and where its results go; the first four as in `hw.spec.isa`."""

    RESIDUAL = 0
    QKV = 1
    GLU = 2
    LOGITS = 3
    SCORES = 4  # q . K, with an exponent for each column
    VALUES = 5  # p . V, two planes, scaled for each row


def is_attention(dest):
    """Return whether a job is one of attention, whose strips are a tile's alone."""
    return (dest == Dest.SCORES) | (dest == Dest.VALUES)


def job_subs(config, dest):
    """Return the substrips that a tile computes of each strip of a job."""
    return Mux(is_attention(dest), config.subs, config.own_subs)


def last_tiles(config, dest, *, tile, last_block, sub):
    """Return whether a tile is the last of its block, of its substrip, and of its strip.

    ``tile`` in its block, which is the ``last_block`` of a substrip or not, and ``sub`` in its
    strip. Words and rows of a job go through its tiles in the same order.
    """
    ends_block = tile == config.tiles_per_block - 1
    ends_sub = ends_block & last_block
    return ends_block, ends_sub, ends_sub & (sub == job_subs(config, dest) - 1)


#: Scale of an attention row, from the softmax: `numerics.md` 3.2 step 9.
RowScale = data.StructLayout({
    "shift1": signed(7),
    "reciprocal": unsigned(MULTIPLIER_WIDTH),
    "shift2": unsigned(6),
})


def row_place(config):
    """Return the layout of where a row of the pass belongs: slot of its sequence, position."""
    return data.StructLayout({
        "slot": range(config.max_seqs),
        "position": range(config.max_context),
    })


def segment_layout(config):
    """Return the layout of the rows of one sequence in a pass.

    ``rows`` rows from ``row0`` on, at positions from ``first_pos`` on; with ``emit`` the last of
    them gives a token.
    """
    rows = range(config.max_rows)
    return data.StructLayout({
        "slot": range(config.max_seqs),
        "row0": rows,
        "rows": range(config.max_rows + 1),
        "first_pos": range(config.max_context),
        "emit": 1,
    })


def sampling_layout(config):
    """Return the layout of how a request's tokens are drawn: fields of `spec.requests.REQUEST`."""
    return data.StructLayout({
        "top_k": range(config.list_len + 1),
        "report_count": range(config.list_len + 1),
        "multiplier": unsigned(TEMPERATURE_MULTIPLIER_WIDTH),
        "shift": unsigned(TEMPERATURE_SHIFT_WIDTH),
        "seed": unsigned(RANDOM_WIDTH),
        "candidates_addr": 32,
    })


def draw_layout(config):
    """Return the layout of how one token is drawn, ``position`` being its own."""
    return data.StructLayout({
        "sampling": sampling_layout(config),
        "position": range(config.max_context + 1),
    })


def matmul_job(config):
    """Return the layout of a matrix job.

    Fields: ``dest``; ``bias``: strips carry one; ``strips``: strips of 32 outputs, of which a tile
    takes those of its group; ``blocks``: blocks of 32 along the reduction; ``heads``,
    ``head_rows``: the rows fed are ``heads`` times ``head_rows``; row (h, i) is row ``row0 + i`` of
    the activation memory, from block ``src + h * head_blocks``; ``dst``: first block written;
    ``strips0`` to ``strips2``, ``shift1_0``...: sections of the outputs. Of attention ``half`` of
    the scores, ``value_bank`` of the exponents of V, and the ``first_block`` of positions that is
    visited.
    """
    rows = range(config.max_rows + 1)
    sections = {}
    for index in range(3):
        sections |= {
            f"strips{index}": unsigned(16),
            f"shift1_{index}": unsigned(6),
            f"shift2_{index}": unsigned(6),
        }
    return data.StructLayout({
        "dest": Dest,
        "bias": 1,
        "strips": unsigned(16),
        "blocks": unsigned(12),
        "heads": rows,
        "head_rows": rows,
        "head_blocks": unsigned(4),
        "row0": range(config.max_rows),
        "src": unsigned(10),
        "dst": unsigned(10),
        "half": 1,
        "value_bank": unsigned(2),
        "first_block": range(config.max_context // BLOCK_LEN),
        **sections,
    })


def result_label(config):
    """Return the layout that travels with each beat of results.

    ``row``: row of the activation memory; ``index``: row in the job, of attention of the scores;
    ``half`` of the scores; ``head_row``: row in its head; ``section``, ``strip`` (in its section),
    ``head``, ``block`` (in its head), ``beat`` (in its block); ``dst``: block of the activation
    memory; ``strip_end``, ``last``: the tile's last beat of a strip, and of the job.
    """
    rows = range(config.max_rows)
    return data.StructLayout({
        "dest": Dest,
        "row": rows,
        "index": rows,
        "half": 1,
        "head_row": rows,
        "section": unsigned(2),
        "strip": unsigned(16),
        "head": unsigned(8),
        "block": unsigned(4),
        "beat": range(max(2, config.beats)),
        "dst": unsigned(10),
        "strip_end": 1,
        "last": 1,
    })
