"""The records that the probes must show for what the golden model recorded."""

from dataclasses import dataclass

import numpy as np

from hw.probe import PROBES, probe_signature
from hw.spec.formats import BLOCK_LEN

__all__ = [
    "Expected",
    "PassOutput",
    "decode",
    "describe",
    "expected_records",
    "payload_widths",
    "probe_of",
]

_IS_VALUE = {"k": 0, "v": 1}
_VALUE_BIT, _HEAD_BIT = 12, 4  # of the index of a record of `key_value`


def payload_widths(config):
    """Return the width of each kind's payload in bits, by its number."""
    members = probe_signature(config).members
    return {kind: members[name].signature.members["data"].shape for name, kind in PROBES.items()}


def probe_of(kind):
    """Return the probe (number) that shows outputs of a kind of `sim.golden.record.Output`."""
    if kind in ("residual", "logits"):
        return PROBES[kind]
    return PROBES["key_value" if kind in _IS_VALUE else "block"]


@dataclass(frozen=True)
class PassOutput:
    """What one operator wrote in one pass; kinds and arrays as `sim.golden.record.Output`.

    ``rows``: the chip's numbers of the rows in the arrays.
    """

    name: str
    kind: str
    rows: np.ndarray
    values: np.ndarray
    exponents: np.ndarray | None = None


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
    outputs : list of PassOutput
        What the golden model says of that pass.
    """
    numbers = {name: op for op, name in enumerate(compiled.names)}
    found = {}
    for output in outputs:
        op = numbers[output.name]
        fields = compiled.steps[op].fields
        kind = probe_of(output.kind)
        if kind in (PROBES["residual"], PROBES["logits"]):
            part = _beats(output, compiled.config.lanes)
        elif kind == PROBES["key_value"]:
            part = _key_values(output, _IS_VALUE[output.kind])
        else:
            part = _blocks(output, fields["dst"])
        found.setdefault((op, kind), []).append(part)
    return [
        Expected(op, kind, *(np.concatenate(column) for column in zip(*parts, strict=True)))
        for (op, kind), parts in found.items()
    ]


def _places(rows, count):
    return np.repeat(rows, count), np.tile(np.arange(count), len(rows))


def _beats(output, lanes):
    length = output.values.shape[1]
    padded = -(-length // BLOCK_LEN) * BLOCK_LEN
    values = np.pad(output.values, ((0, 0), (0, padded - length))).reshape(-1, lanes)
    return *_places(output.rows, padded // lanes), values


def _with_exponents(output):
    """Blocks (n, 33) of an output, rows first."""
    elements = output.values.reshape(-1, BLOCK_LEN).astype(np.int32)
    return np.concatenate([elements, output.exponents.reshape(-1, 1).astype(np.int32)], axis=1)


def _blocks(output, dst):
    values = _with_exponents(output)
    row, block = _places(output.rows, len(values) // len(output.rows))
    return row, dst + block, values


def _key_values(output, is_value):
    heads = output.values.shape[1]
    values = _with_exponents(output)
    row, place = _places(output.rows, len(values) // len(output.rows))
    head, block = np.divmod(place, len(values) // len(output.rows) // heads)
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
