"""Compares what the chip did with what the golden model says, and finds the first difference."""

from dataclasses import dataclass

import numpy as np

from hw.probe import PROBES
from sim.run.expectation import (
    PassOutput,
    decode,
    describe,
    expected_records,
    payload_widths,
    probe_of,
)
from sim.run.passes import split
from sim.run.trace import read_trace

__all__ = [
    "Comparison",
    "Mismatch",
    "compare_cache",
    "compare_candidates",
    "compare_tokens",
    "compare_trace",
]


@dataclass(frozen=True)
class Mismatch:
    """A place where the chip differs.

    Members
    -------
    operator : str
        Name of the operator, or what else was compared.
    what : str
        The element.
    row, request, position : int
        Row of the pass, whose it is, and its position there; None where there is none.
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
    request: int | None = None
    position: int | None = None
    cycle: int | None = None

    def __str__(self):
        where = "" if self.row is None else f", row {self.row}"
        if self.request is not None:
            where += f" (request {self.request}, position {self.position})"
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


def compare_trace(compiled, golden, path, *, ended=None):
    """Compare the file of the probes with what golden says of each request alone.

    Rows and positions of which nothing is recorded are not compared.

    Parameters
    ----------
    compiled : CompiledModel
        What ran.
    golden : dict
        Number of each request to its `GoldenRun`.
    path : Path
        The file.
    ended : iterable of int
        Requests of which every position must be there; by default all.
    """
    total, fed = Comparison(), {}
    numbers = {name: op for op, name in enumerate(compiled.names)}
    outputs = list(dict.fromkeys(key for run in golden.values() for key in run.rows))
    possible = {(numbers[name], probe_of(kind)) for name, kind in outputs}
    for index, shown in enumerate(split(read_trace(path, payload_widths(compiled.config)))):
        total += _compare_places(golden, shown.places, index, fed)
        emitting = [
            p for p in shown.places if p.request in golden and golden[p.request].emits(p.position)
        ]
        places = [
            emitting if step.fields.get("emit_rows") else shown.places for step in compiled.steps
        ]
        gathered = [
            output
            for name, kind in outputs
            if (output := _gather(golden, name, kind, places[numbers[name]]))
        ]
        for one in expected_records(compiled, gathered):
            total += _compare_records(compiled, one, shown.records, places[one.op])
        for (op, kind), segments in shown.records.items():
            if (op, kind) not in possible or not places[op]:
                total += _unexpected(compiled, segments[0], shown.places)
        total += _compare_choices(compiled, golden, shown.records, emitting)
    return total + _compare_lengths(golden, golden if ended is None else ended, fed)


def _gather(golden, name, kind, places):
    """Return the `PassOutput` of those rows of a pass that are recorded; None if none is."""
    found = []
    for row, place in enumerate(places):
        run = golden.get(place.request)
        recorded = run and run.rows.get((name, kind))
        if recorded and place.position in recorded:
            found.append((row, recorded, place.position - recorded.first))
    if not found:
        return None
    exponents = None
    if found[0][1].exponents is not None:
        exponents = np.stack([recorded.exponents[at] for _, recorded, at in found])
    return PassOutput(
        name,
        kind,
        np.array([row for row, _, _ in found]),
        np.stack([recorded.values[at] for _, recorded, at in found]),
        exponents,
    )


def _compare_places(golden, places, index, fed):
    """Compare each row's place with the position that is next; ``fed``: those, by request."""
    total = Comparison()
    for row, place in enumerate(places):
        run = golden.get(place.request)
        want = fed.get(place.request, run.start_pos) if run else "no such request"
        fed[place.request] = place.position + 1
        if place.position != want:
            first = Mismatch(
                f"pass {index}",
                "place of the row",
                want,
                place.position,
                row=row,
                request=place.request,
                position=place.position,
                cycle=place.cycle,
            )
            total += Comparison(0, 1, first)
    return total


def _compare_lengths(golden, ended, fed):
    total = Comparison()
    for number in ended:
        run = golden[number]
        have = fed.get(number, run.start_pos)
        if have != run.length:
            what = f"end of the positions of request {number}"
            total += Comparison(0, 1, Mismatch("passes", what, run.length, have))
    return total


def _compare_records(compiled, expected, shown, places):
    """Compare what an operator showed of the rows expected; others of ``places`` are left out."""
    segments = shown.get((expected.op, expected.kind), [])
    name = compiled.names[expected.op]
    lanes, kind = compiled.config.lanes, expected.kind
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
            cycle=cycle,
            **_where(row, places),
        )

    if not segments:
        first = mismatch(want_keys[0], 0, int(values[0, 0]), None, None)
        return Comparison(0, values.size, first, 1)
    keys = np.concatenate([_keys(s.row, s.index) for s in segments])
    cycles = np.concatenate([s.cycle for s in segments])
    got = decode(kind, np.concatenate([s.data for s in segments]), lanes)
    left_out = np.setdiff1d(np.arange(len(places)), expected.row)
    if len(left_out):
        compared = ~np.isin(keys >> 16, left_out)
        keys, cycles, got = keys[compared], cycles[compared], got[compared]

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


def _compare_choices(compiled, golden, shown, emitting):
    """Compare the token that the logits shown of each row give with golden's."""
    total = Comparison()
    segments = [s for (_, kind), found in shown.items() if kind == PROBES["logits"] for s in found]
    lanes, vocab = compiled.config.lanes, compiled.shape.vocab
    if segments:
        rows = np.concatenate([segment.row for segment in segments])
        index = np.concatenate([segment.index for segment in segments])
        data = np.concatenate([segment.data for segment in segments])
        values = decode(PROBES["logits"], data, lanes)
    for row, place in enumerate(emitting):
        token = golden[place.request].token_at(place.position)
        if token is None:
            continue
        chosen = rows == row if segments else np.zeros(0, dtype=bool)
        got = cycle = None
        if chosen.any():
            logits = np.zeros((int(index[chosen].max()) + 1, lanes), dtype=values.dtype)
            logits[index[chosen]] = values[chosen]
            draw = golden[place.request].sampling.draw
            got = draw(logits.reshape(-1)[:vocab], place.position + 1)
            cycle = int(segments[-1].cycle[-1])
        first = None
        if got != token:
            what = "token drawn from the logits"
            first = Mismatch("logits", what, token, got, cycle=cycle, **_where(row, emitting))
        total += Comparison(1, int(got != token), first)
    return total


def _unexpected(compiled, segment, places):
    name = compiled.names[segment.op] if segment.op < len(compiled.names) else f"op {segment.op}"
    first = Mismatch(
        name,
        "record",
        "none",
        f"{len(segment.row)} of kind {segment.kind}",
        cycle=int(segment.cycle[0]),
        **_where(int(segment.row[0]), places),
    )
    return Comparison(0, len(segment.row), first)


def _where(row, places):
    """Return the fields of a `Mismatch` that tell of a row."""
    if row >= len(places):
        return {"row": row}
    return {"row": row, "request": places[row].request, "position": places[row].position}


def _keys(row, index):
    return row.astype(np.int64) << 16 | index.astype(np.int64)


def compare_tokens(golden, tokens, *, ended=True):
    """Compare a request's tokens with its `GoldenRun`: all, or if not ``ended`` those there are."""
    want = golden.tokens if ended else golden.tokens[: len(tokens)]
    for index in range(max(len(tokens), len(want))):
        one = want[index] if index < len(want) else "no token"
        got = tokens[index] if index < len(tokens) else None
        if one != got:
            return Comparison(len(tokens), 1, Mismatch("events", f"token {index}", one, got))
    return Comparison(len(tokens))


def compare_candidates(golden, candidates, *, count):
    """Compare what the chip reported with token number ``count`` (from 1) with its `GoldenRun`."""
    want = golden.candidates[count - 1]
    for rank in range(max(len(want), len(candidates))):
        one = want[rank] if rank < len(want) else "no candidate"
        got = candidates[rank] if rank < len(candidates) else None
        if one != got:
            what = f"candidate {rank} of token {count - 1}"
            return Comparison(len(want), 1, Mismatch("candidates", what, one, got))
    return Comparison(len(want))


def compare_cache(host, golden, pages, *, length=None, left_out=()):
    """Compare the KV cache of a request in memory (a `HostImage`) with its `GoldenRun`.

    Parameters
    ----------
    host : HostImage
        The memory.
    golden : GoldenRun
        What must be there.
    pages : sequence of int
        The request's pages.
    length : int
        Positions compared; by default all of the run.
    left_out : iterable of int
        Pages that have become another's.
    """
    length = golden.length if length is None else length
    page_len = host.compiled.config.page_len
    cache = host.read_cache(pages, length)
    kept = np.array([pages[at // page_len] not in left_out for at in range(length)], dtype=bool)
    total = Comparison()
    for name in ("k", "k_exponents", "v", "v_exponents"):
        got = getattr(cache, name)
        want = getattr(golden.cache, name)[:, :, :length]
        differs = (got != want) & kept[:, None]
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
        total += Comparison(int(want[:, :, kept].size), int(differs.sum()), first)
    return total
