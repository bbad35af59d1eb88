"""Draws the window around a difference: each signal as the reference has it, and as it is now.

SVG in the manner of WaveDrom, written here: single bits as lines, values as boxes, differing cycles
shaded, what is new in red.
"""

from html import escape

__all__ = ["draw"]

BEFORE, AFTER = 4, 12  # cycles around the difference
SIGNALS = 7
STEP, ROW, HIGH, LABEL, SLOPE = 64, 26, 16, 190, 5
OLD, NEW, GRID, SHADE = "#1a1a1a", "#c00000", "#dddddd", "#fde8c8"
FONT = 'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="11"'
ABSENT = object()  # the trace has no such cycle, or no such signal


def _text(value):
    if value is None or value is ABSENT:
        return ""
    return value if isinstance(value, str) else f"{value:x}"


def _short(text, width, other=""):
    """Return as much of a text as fits, with the place where it differs from another."""
    room = max(int((width - 2 * SLOPE - 4) // 6.7), 1)
    if len(text) <= room:
        return text
    at = next((n for n, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), 0)
    first = min(max(at - room // 2, 0), len(text) - room + 1)
    shown = text[first : first + room - (first > 0)]
    if first + len(shown) < len(text):
        shown = f"{shown[:-1]}…"
    return f"…{shown}" if first else shown


def _line(values, top, colour, _):
    """Return the path of a single bit."""
    points, x = [], LABEL
    for value in values:
        if value is ABSENT or value is None:
            points.append(None)
        else:
            points.append(top + (0 if value == 1 else HIGH) if value in (0, 1) else top + HIGH / 2)
    path, before = [], None
    for number, y in enumerate(points):
        x = LABEL + number * STEP
        if y is not None:
            if before is None:
                path.append(f"M{x},{y}")
            elif y != before:
                path.append(f"L{x - SLOPE / 2},{before} L{x + SLOPE / 2},{y}")
            path.append(f"L{x + STEP - (SLOPE / 2 if number + 1 < len(points) else 0)},{y}")
        before = y
    return [f'<path d="{" ".join(path)}" fill="none" stroke="{colour}" stroke-width="1.4"/>']


def _boxes(values, top, colour, others):
    """Return boxes with the values of a signal of several bits, which the other trace has too."""
    shapes, number = [], 0
    while number < len(values):
        end = number + 1
        while end < len(values) and values[end] == values[number]:
            end += 1
        value, left, right = values[number], LABEL + number * STEP, LABEL + end * STEP
        if value is not ABSENT and value is not None:
            middle, bottom = top + HIGH / 2, top + HIGH
            shapes.append(
                f'<path d="M{left},{middle} L{left + SLOPE},{top} L{right - SLOPE},{top} '
                f'L{right},{middle} L{right - SLOPE},{bottom} L{left + SLOPE},{bottom} Z" '
                f'fill="white" stroke="{colour}" stroke-width="1.2"/>'
            )
            beside = (_text(other) for other in others[number:end] if other != value)
            shown = escape(_short(_text(value), right - left, next(beside, "")))
            shapes.append(
                f'<text x="{(left + right) / 2}" y="{top + 12}" text-anchor="middle" '
                f'fill="{colour}" {FONT}>{shown}<title>{escape(_text(value))}</title></text>'
            )
        elif value is None:
            y = top + HIGH / 2
            shapes.append(
                f'<path d="M{left},{y} L{right},{y}" stroke="{colour}" stroke-dasharray="2,3"/>'
            )
        number = end
    return shapes


def _columns(trace, channel):
    """Return a dict from the names of a channel's signals to (values, bits)."""
    samples = trace.channels.get(channel)
    if samples is None:
        return {}
    bits = [1] * (len(list(samples.rows(channel))) - len(samples.fields))
    bits += samples.widths.values()
    return {
        name: (values, width)
        for (name, values), width in zip(samples.rows(channel), bits, strict=True)
    }


def _pick(column, cycles):
    return [column[c] if column and 0 <= c < len(column) else ABSENT for c in cycles]


def _rows(reference, now, verdict, cycles):
    """Yield (name, old values, new values, bits): channels that differ first, then their inputs."""
    order = [one.channel for one in verdict.differences]
    order += [name for name in now.channels if name not in order]
    count = 0
    for channel in order:
        old, new = _columns(reference, channel), _columns(now, channel)
        for name in [*old, *(n for n in new if n not in old)]:
            if count == SIGNALS:
                return
            count += 1
            bits = (new.get(name) or old[name])[1]
            columns = [
                _pick(side[name][0] if name in side else None, cycles) for side in (old, new)
            ]
            yield name, *columns, bits


def draw(reference, now, verdict):
    """Return an SVG of the cycles around the first difference of a verdict.

    Parameters
    ----------
    reference, now : Trace
    verdict : Verdict
        What `compare` found of them; of kind other than ``"same"``.
    """
    centre = verdict.first.cycle or 0
    last = max(reference.cycles, now.cycles)
    cycles = range(max(centre - BEFORE, 0), min(centre + AFTER, last))
    rows = list(_rows(reference, now, verdict, cycles))
    width = LABEL + STEP * len(cycles) + 12
    head = 58
    height = head + len(rows) * (2 * ROW + 10) + 8
    shapes = []
    for number, (name, old, new, bits) in enumerate(rows):
        top = head + number * (2 * ROW + 10)
        for at, (a, b) in enumerate(zip(old, new, strict=True)):
            if a != b:
                shapes.append(
                    f'<rect x="{LABEL + at * STEP}" y="{top - 4}" width="{STEP}" '
                    f'height="{2 * ROW}" fill="{SHADE}"/>'
                )
        sides = ((old, new, top, OLD, "ref"), (new, old, top + ROW, NEW, "now"))
        for values, others, y, colour, which in sides:
            label = f"{name} {which}" if which == "ref" else which
            shapes.append(
                f'<text x="{LABEL - 8}" y="{y + 12}" text-anchor="end" fill="{colour}" {FONT}>'
                f"{escape(label)}</text>"
            )
            shapes += (_line if bits == 1 else _boxes)(values, y, colour, others)
    grid = []
    for number, cycle in enumerate(cycles):
        x = LABEL + number * STEP
        grid.append(f'<path d="M{x},{head - 12} V{height - 6}" stroke="{GRID}"/>')
        weight = ' font-weight="bold"' if cycle == centre else ""
        grid.append(
            f'<text x="{x + STEP / 2}" y="{head - 16}" text-anchor="middle" fill="#666666"{weight} '
            f"{FONT}>{cycle}</text>"
        )
    title = f"{verdict.scenario}: {verdict.first}"
    lines = [title] if len(title) * 6.7 < width - 16 else [verdict.scenario, str(verdict.first)]
    texts = [
        f'<text x="8" y="{16 + 14 * n}" {FONT}>{escape(_short(line, width))}</text>'
        for n, line in enumerate(lines)
    ]
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        *(shape for shape in shapes if shape.startswith("<rect")),
        *grid,
        *(shape for shape in shapes if not shape.startswith("<rect")),
        *texts,
        "</svg>\n",
    ])
