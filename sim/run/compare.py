"""Compares what the chip did with what the golden model says, and finds the first difference."""

from dataclasses import dataclass

import numpy as np

from hw.core import PROBES
from sim.run.expectation import decode, describe, expected_records, payload_widths
from sim.run.trace import read_trace

__all__ = ["Comparison", "Mismatch", "compare_cache", "compare_tokens", "compare_trace", "split"]


@dataclass(frozen=True)
class Mismatch:
    """A place where the chip differs.

    Members
    -------
    operator : str
        Name of the operator, or what else was compared.
    what : str
        The element.
    row, position : int
        Row of the pass, and its position in the sequence; None where there is none.
    expected, got : object
        Both values; ``got`` is None for a record that never came.
    cycle : int
        When the chip showed it; None where nothing was shown.
    """

    operator: str
    what: str
    expected: object
    got: object
    row: int | None = None
    position: int | None = None
    cycle: int | None = None

    def __str__(self):
        where = "" if self.row is None else f", row {self.row} (position {self.position})"
        when = "" if self.cycle is None else f", in cycle {self.cycle}"
        return (
            f"{self.operator}{where}, {self.what}: expected {self.expected}, "
            f"got {'nothing' if self.got is None else self.got}{when}"
        )


@dataclass(frozen=True)
class Comparison:
    """How many values were compared, how many differ, and where the first does."""

    values: int = 0
    mismatches: int = 0
    first: Mismatch | None = None
    operators: int = 0

    def __add__(self, other):
        return Comparison(
            self.values + other.values,
            self.mismatches + other.mismatches,
            self.first or other.first,
            self.operators + other.operators,
        )


def split(segments):
    """Return the passes of a trace: each a dict of (op, kind) to its segments.

    Within a pass operators run in the order of their numbers.
    """
    passes, last = [], None
    for segment in segments:
        if last is None or segment.op < last:
            passes.append({})
        last = segment.op
        passes[-1].setdefault((segment.op, segment.kind), []).append(segment)
    return passes


def compare_trace(compiled, golden, path):
    """Compare the file of the probes with the recorded passes of a `GoldenRun`."""
    passes = split(read_trace(path, payload_widths(compiled.config)))
    total = Comparison()
    for index, recorded in enumerate(golden.passes):
        shown = passes[index] if index < len(passes) else {}
        expected = expected_records(compiled, recorded.outputs)
        for one in expected:
            total += _compare_records(compiled, one, shown, recorded)
        known = {(one.op, one.kind) for one in expected}
        for key in shown:
            if key not in known:
                total += _unexpected(compiled, shown[key][0], recorded.start)
    logits = [shown for shown in passes if any(kind == PROBES["logits"] for _, kind in shown)]
    for index, (shown, token) in enumerate(zip(logits, golden.tokens, strict=False)):
        total += _compare_argmax(compiled, shown, index, token)
    if len(passes) > golden.pass_count:
        segments = next(iter(passes[golden.pass_count].values()))
        total += _unexpected(compiled, segments[0], golden.cache.length)
    return total


def _compare_records(compiled, expected, shown, recorded):
    segments = shown.get((expected.op, expected.kind), [])
    name = compiled.names[expected.op]
    lanes, kind = compiled.config.lanes, expected.kind
    # Operators of one row see the last of the pass as row 0.
    fields = compiled.steps[expected.op].fields
    one_row = fields.get("last_row") or fields.get("one_row")
    first_position = recorded.start + (recorded.rows - 1 if one_row else 0)
    order = np.argsort(_keys(expected.row, expected.index), kind="stable")
    want_keys = _keys(expected.row, expected.index)[order]
    values = expected.values[order]

    def mismatch(key, element, want, got, cycle):
        row, index = int(key) >> 16, int(key) & 0xFFFF
        return Mismatch(
            name,
            describe(compiled, expected.op, kind, index, element),
            want,
            got,
            row=row,
            position=first_position + row,
            cycle=cycle,
        )

    if not segments:
        first = mismatch(want_keys[0], 0, int(values[0, 0]), None, None)
        return Comparison(0, values.size, first, 1)
    keys = np.concatenate([_keys(s.row, s.index) for s in segments])
    cycles = np.concatenate([s.cycle for s in segments])
    got = decode(kind, np.concatenate([s.data for s in segments]), lanes)

    # Where each record shown belongs; those that belong nowhere are mismatches of their own.
    place = np.minimum(np.searchsorted(want_keys, keys), len(want_keys) - 1)
    belongs = want_keys[place] == keys
    differs = (got != values[place]) & belongs[:, None]
    seen = np.bincount(place[belongs], minlength=len(want_keys))
    wrong = ~belongs | differs.any(axis=1)
    repeated = seen > 1
    missing = seen == 0
    count = int(differs.sum() + (~belongs).sum() + repeated.sum() + missing.sum() * values.shape[1])
    first = None
    if wrong.any():
        at = int(np.argmax(wrong))  # records are in the order of their cycles
        if belongs[at]:
            element = int(np.argmax(differs[at]))
            want, have = int(values[place[at], element]), int(got[at, element])
            first = mismatch(keys[at], element, want, have, int(cycles[at]))
        else:
            first = mismatch(keys[at], 0, "no such record", int(got[at, 0]), int(cycles[at]))
    elif missing.any():
        at = int(np.argmax(missing))
        first = mismatch(want_keys[at], 0, int(values[at, 0]), None, None)
    elif repeated.any():
        at = int(np.argmax(repeated))
        key = want_keys[at]
        cycle = int(cycles[keys == key][1])
        first = mismatch(key, 0, "one record", f"{int(seen[at])} records", cycle)
    return Comparison(values.size, count, first, 1)


def _compare_argmax(compiled, shown, index, token):
    """Compare the place of the largest logit shown with the golden token number ``index``."""
    segments = [s for (_, kind), found in shown.items() if kind == PROBES["logits"] for s in found]
    place = np.concatenate([segment.index for segment in segments])
    lanes = compiled.config.lanes
    values = decode(PROBES["logits"], np.concatenate([s.data for s in segments]), lanes)
    row = np.zeros((int(place.max()) + 1, lanes), dtype=values.dtype)
    row[place] = values
    got = int(np.argmax(row.reshape(-1)[: compiled.shape.vocab]))
    if got == token:
        return Comparison(1)
    cycle = int(segments[-1].cycle[-1])
    what = f"argmax of the logits of token {index}"
    return Comparison(1, 1, Mismatch("logits", what, token, got, cycle=cycle))


def _unexpected(compiled, segment, start):
    name = compiled.names[segment.op] if segment.op < len(compiled.names) else f"op {segment.op}"
    first = Mismatch(
        name,
        "record",
        "none",
        f"{len(segment.row)} of kind {segment.kind}",
        row=int(segment.row[0]),
        position=start + int(segment.row[0]),
        cycle=int(segment.cycle[0]),
    )
    return Comparison(0, len(segment.row), first)


def _keys(row, index):
    return row.astype(np.int64) << 16 | index.astype(np.int64)


def compare_tokens(golden, tokens):
    """Compare the tokens of the ring with those of a `GoldenRun`."""
    for index in range(max(len(tokens), len(golden.tokens))):
        want = golden.tokens[index] if index < len(golden.tokens) else "no token"
        got = tokens[index] if index < len(tokens) else None
        if want != got:
            first = Mismatch("token ring", f"token {index}", want, got)
            return Comparison(len(tokens), 1, first)
    return Comparison(len(tokens))


def compare_cache(host, golden, pages):
    """Compare the KV cache in memory (a `HostImage`) with that of a `GoldenRun`."""
    length = golden.cache.length
    cache = host.read_cache(pages, length)
    total = Comparison()
    for name in ("k", "k_exponents", "v", "v_exponents"):
        got = getattr(cache, name)
        want = getattr(golden.cache, name)[:, :, :length]
        differs = got != want
        first = None
        if differs.any():
            # The earliest position first: that is where things went wrong.
            layer, head, position, element = min(np.argwhere(differs), key=lambda at: at[2])
            first = Mismatch(
                f"KV cache, layer {layer}",
                f"{name} head {head} element {element} of position {position}",
                int(want[layer, head, position, element]),
                int(got[layer, head, position, element]),
            )
        total += Comparison(want.size, int(differs.sum()), first)
    return total
