"""The records that the probes must show for what the golden model recorded."""

from dataclasses import dataclass

import numpy as np

from hw.probe import PROBES
from hw.spec.formats import ACT_WIDTH, BLOCK_LEN, EXP_WIDTH, RESIDUAL_WIDTH

__all__ = ["Expected", "decode", "describe", "expected_records", "payload_widths"]

_IS_VALUE = {"k": 0, "v": 1}
_VALUE_BIT, _HEAD_BIT = 12, 4  # of the index of a record of `key_value`


def payload_widths(config):
    """Return the width of each kind's payload in bits, by its number."""
    block = BLOCK_LEN * ACT_WIDTH + EXP_WIDTH
    beat = config.lanes * RESIDUAL_WIDTH
    widths = {"block": block, "residual": beat, "key_value": block, "logits": beat}
    return {kind: widths[name] for name, kind in PROBES.items()}


@dataclass(frozen=True)
class Expected:
    """What one probe must show of one operator in one pass, in any order of records.

    Members
    -------
    op, kind : int
        Operator and probe.
    row, index : int array (records,)
        Place of each record.
    values : int array (records, n)
        Elements of each; of a block its 32 elements, then its exponent.
    """

    op: int
    kind: int
    row: np.ndarray
    index: np.ndarray
    values: np.ndarray


def decode(kind, data, lanes):
    """Return the elements (records, n) of payloads (records, bytes), as in `Expected`."""
    if kind in (PROBES["block"], PROBES["key_value"]):
        elements = np.ascontiguousarray(data[:, :BLOCK_LEN]).view(np.int8)
        exponents = data[:, BLOCK_LEN : BLOCK_LEN + 1]
        return np.concatenate([elements.astype(np.int32), exponents.astype(np.int32)], axis=1)
    return np.ascontiguousarray(data[:, : 4 * lanes]).view("<i4")


def expected_records(compiled, outputs):
    """Return the list of `Expected` of one pass, in program order.

    Parameters
    ----------
    compiled : CompiledModel
        Gives operators their numbers, and outputs their place in the activation memory.
    outputs : list of Output
        What the golden model recorded of that pass.
    """
    numbers = {name: op for op, name in enumerate(compiled.names)}
    found = {}
    for output in outputs:
        op = numbers[output.name]
        fields = compiled.steps[op].fields
        if output.kind in ("residual", "logits"):
            kind = PROBES[output.kind]
            part = _beats(output.values, compiled.config.lanes)
        elif output.kind in _IS_VALUE:
            kind = PROBES["key_value"]
            part = _key_values(output, _IS_VALUE[output.kind])
        else:
            kind = PROBES["block"]
            part = _blocks(output, fields["dst"])
        found.setdefault((op, kind), []).append(part)
    return [
        Expected(op, kind, *(np.concatenate(column) for column in zip(*parts, strict=True)))
        for (op, kind), parts in found.items()
    ]


def _places(rows, count):
    return np.repeat(np.arange(rows), count), np.tile(np.arange(count), rows)


def _beats(values, lanes):
    rows, length = values.shape
    padded = -(-length // BLOCK_LEN) * BLOCK_LEN
    values = np.pad(values, ((0, 0), (0, padded - length))).reshape(-1, lanes)
    return *_places(rows, padded // lanes), values


def _with_exponents(output):
    """Blocks (n, 33) of an output, rows first."""
    elements = output.values.reshape(-1, BLOCK_LEN).astype(np.int32)
    return np.concatenate([elements, output.exponents.reshape(-1, 1).astype(np.int32)], axis=1)


def _blocks(output, dst):
    values = _with_exponents(output)
    rows = output.values.shape[0]
    row, block = _places(rows, len(values) // rows)
    return row, dst + block, values


def _key_values(output, is_value):
    rows, heads, _ = output.values.shape
    values = _with_exponents(output)
    row, place = _places(rows, len(values) // rows)
    head, block = np.divmod(place, len(values) // rows // heads)
    return row, is_value << _VALUE_BIT | head << _HEAD_BIT | block, values


def describe(compiled, op, kind, index, element):
    """Name an element of a record: ``q element 5``, ``exponent of block 2``."""
    step, shape = compiled.steps[op], compiled.shape
    if kind in (PROBES["residual"], PROBES["logits"]):
        place = index * compiled.config.lanes + element
        return f"{'logit' if kind == PROBES['logits'] else 'residual element'} {place}"
    if kind == PROBES["key_value"]:
        block = index & (1 << _HEAD_BIT) - 1
        head = index >> _HEAD_BIT & (1 << _VALUE_BIT - _HEAD_BIT) - 1
        what = f"{'v' if index >> _VALUE_BIT else 'k'} head {head} "
    else:
        block = index - step.fields.get("dst", 0)
        what = ""
        if step.name.endswith("qkv"):
            head, block = divmod(block, shape.head_dim // BLOCK_LEN)
            what = f"q head {head} "
    if element == BLOCK_LEN:
        return f"{what}exponent of block {block}"
    return f"{what}element {block * BLOCK_LEN + element}"
