"""References: traces as text that a reviewer can read and a diff can show."""

import hashlib
from itertools import groupby

from scripts.synth.design import ROOT
from scripts.waves.trace import Samples, Trace

__all__ = ["FOLDER", "VERSION", "ReferenceError", "dump", "load", "path_of", "read"]

FOLDER = ROOT / "tests" / "waves"
VERSION = 1
WIDTH = 100
HEAD = (
    "# What the RTL did at each clock edge of a scenario (docs/waves.md), by `make wave-accept`:\n"
    "# `cycle:value` is a change; payloads are listed one an offer, `*n` of them alike.\n"
)


class ReferenceError(ValueError):
    """A reference that is missing, damaged or of another version."""


def path_of(scenario):
    """Return where the reference of a scenario lies."""
    return FOLDER / f"{scenario}.txt"


def _hex(value):
    return value if isinstance(value, str) else f"{value:x}"


def _value(text):
    return text if text == "x" else int(text, 16)


def _lines(head, tokens):
    line = head
    for token in tokens:
        if len(line) + 1 + len(token) > WIDTH:
            yield line
            line = "    "
        line += f" {token}" if line.strip() else token
    yield line


def _changes(values):
    return [
        f"{cycle}:{_hex(value)}"
        for cycle, value in enumerate(values)
        if cycle == 0 or value != values[cycle - 1]
    ]


def _payloads(samples, name):
    column = samples.fields[name]
    tokens, last = [], None
    for cycle, kind, _ in samples.offers():
        if kind == "offer":
            tokens.append(_hex(column[cycle]))
        elif kind == "changed" and column[cycle] != last:
            tokens.append(f"{_hex(column[cycle])}@{cycle}")
        last = column[cycle]
    folded = []
    for token, same in groupby(tokens):
        count = len(list(same))
        folded.append(f"{token}*{count}" if count > 1 else token)
    return folded


def _body(trace):
    for channel, samples in trace.channels.items():
        if samples.valid is None:
            (values,), (width,) = samples.fields.values(), samples.widths.values()
            yield from _lines(f"level {channel}[{width}]", _changes(values))
            continue
        yield f"stream {channel}"
        yield from _lines("  valid", _changes(samples.valid))
        if samples.ready is not None:
            yield from _lines("  ready", _changes(samples.ready))
        for name in samples.fields:
            head = f"  .{name}[{samples.widths[name]}]"
            yield from _lines(head, _payloads(samples, name))


def _digest(scenario, cycles, cut, body):
    text = "\n".join([str(VERSION), scenario, str(cycles), str(cut), *body])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def dump(trace):
    """Return a trace as text."""
    body = list(_body(trace))
    cut = "cut" if trace.cut else "whole"
    lines = [
        f"version {VERSION}",
        f"scenario {trace.scenario}",
        f"cycles {trace.cycles} {cut}",
        f"digest {_digest(trace.scenario, trace.cycles, cut, body)}",
        *body,
    ]
    return HEAD + "\n".join(lines) + "\n"


def _unfold(tokens, cycles):
    """Return the values of all cycles from their changes."""
    values = []
    for token in tokens:
        at, value = token.split(":")
        values += values[-1:] * (int(at) - len(values))
        values.append(_value(value))
    return values + values[-1:] * (cycles - len(values))


def _unfold_payloads(tokens, samples):
    tokens = [
        one
        for token in tokens
        for one in [token.partition("*")[0]] * int(token.partition("*")[2] or 1)
    ]
    column, held = [], None
    for cycle, valid in enumerate(samples.valid):
        if valid != 1:
            column.append(None)
            held = None
            continue
        if held is None or (tokens and tokens[0].endswith(f"@{cycle}")):
            held = _value(tokens.pop(0).partition("@")[0])
        column.append(held)
        if samples.ready is None or samples.ready[cycle] == 1:
            held = None
    if tokens:
        raise ValueError("payloads are left")
    return column


def _rows(body):
    """Yield (indented, first word, tokens) of each row, its continuations included."""
    rows = []
    for line in body:
        head, *tokens = line.split()
        if line.startswith("    "):
            rows[-1][2].extend([head, *tokens])
        else:
            rows.append((line.startswith(" "), head, tokens))
    return rows


def _parse(body, cycles):
    channels = {}
    for indented, head, tokens in _rows(body):
        if not indented:
            name, width = (tokens[0].rstrip("]").split("[") + [""])[:2]
            channels[name] = samples = Samples()
            if head == "level":
                samples.fields[name] = _unfold(tokens[1:], cycles)
                samples.widths[name] = int(width)
        elif head.startswith("."):
            name, width = head[1:].rstrip("]").split("[")
            samples.widths[name] = int(width)
            samples.fields[name] = _unfold_payloads(tokens, samples)
        else:
            setattr(samples, head, _unfold(tokens, cycles))
    return channels


def load(text, name):
    """Return the `Trace` of a text.

    Parameters
    ----------
    text : str
        What `dump` wrote.
    name : str
        What errors call it.

    Raises
    ------
    ReferenceError
        Another version of the format, or a text that was changed by hand or cut.
    """
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    head = dict(line.split(" ", 1) for line in lines[:4] if " " in line)
    if "version" not in head:
        raise ReferenceError(f"{name}: not a waveform reference; take a new one: make wave-accept")
    if head["version"] != str(VERSION):
        raise ReferenceError(
            f"{name}: a reference of version {head['version']}, this is version {VERSION}; take a "
            "new one: make wave-accept"
        )
    try:
        cycles, cut = head["cycles"].split()
        body = lines[4:]
        if head["digest"] != _digest(head["scenario"], cycles, cut, body):
            raise ValueError("the digest is not that of the text")
        channels = _parse(body, int(cycles))
    except (KeyError, ValueError, IndexError) as error:
        raise ReferenceError(
            f"{name}: a damaged reference ({error}); restore it, or take a new one: "
            "make wave-accept"
        ) from None
    return Trace(head["scenario"], int(cycles), cut == "cut", channels)


def read(scenario):
    """Return the reference of a scenario, or None if there is none."""
    path = path_of(scenario)
    name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    return load(path.read_text(), name) if path.exists() else None
