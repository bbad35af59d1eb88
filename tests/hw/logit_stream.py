"""Beats of logits, in the order in which the language model head gives them."""

import numpy as np

from hw.spec.formats import BLOCK_LEN, RESIDUAL_WIDTH
from tests.hw.vector_stream import numbers

__all__ = ["KINDS", "LOW", "beat", "logit_row", "strips"]

LOW = -(1 << (RESIDUAL_WIDTH - 1))
KINDS = 6


def logit_row(rng, kind, count):
    """Return a row: of all sizes, many ties, rising, falling, all alike, or a model's."""
    if kind == 1:
        return [rng.choice((-2, -1, 7)) for _ in range(count)]
    if kind == 4:
        return [rng.choice((LOW, 1 + LOW, 0, ~LOW))] * count
    if kind == 5:
        return [round(rng.gauss(0, 3) * 65536) for _ in range(count)]
    row = numbers(rng, RESIDUAL_WIDTH, count)
    return sorted(row, reverse=kind == 3) if kind else row


def beat(shape, logits, row, index, valid_count):
    """Return the bits of the beat of a row whose lane 0 is at an index; 0 where none is left."""
    lanes = shape["data"].shape.length
    words = np.zeros(lanes, "<i4")
    part = logits[index : index + lanes]
    words[: len(part)] = part
    fields = {
        "data": int.from_bytes(words.tobytes(), "little"),
        "row": row,
        "index": index,
        "first": int(index == 0),
        "valid_count": valid_count,
    }
    return sum(value << shape[name].offset for name, value in fields.items())


def strips(shape, rows, valid_count):
    """Yield the beats of some rows: strip by strip, in each row by row, in each beat by beat."""
    lanes = shape["data"].shape.length
    for at in range(0, len(rows[0]), BLOCK_LEN):
        for row, logits in enumerate(rows):
            for index in range(at, at + BLOCK_LEN, lanes):
                yield beat(shape, logits, row, index, valid_count)
