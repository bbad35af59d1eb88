"""Waveforms of a few signals, for tests of what reads them."""

__all__ = ["write_vcd"]

PERIOD = 10


def write_vcd(path, signals, widths, top="dut"):
    """Write a VCD of signals that change right after the rising edges of a clock; return the path.

    Parameters
    ----------
    path : Path
    signals : dict
        Name to values, one for each edge: what a register clocked by it takes. ``x`` is unknown.
    widths : dict
        Bits of those that have more than one.
    top : str
        Scope that they and ``clk`` are in.
    """
    codes = {name: chr(34 + number) for number, name in enumerate(signals)}
    lines = ["$timescale 1ns $end", f"$scope module {top} $end", "$var wire 1 ! clk $end"]
    lines += [f"$var wire {widths.get(name, 1)} {code} {name} $end" for name, code in codes.items()]
    lines += ["$upscope $end", "$enddefinitions $end", "#0", "0!"]
    count = max(map(len, signals.values()))
    for edge in range(count):
        time = edge * PERIOD
        if edge:
            lines += [f"#{time}", "1!"]
        for name, values in signals.items():
            if edge < len(values) and (edge == 0 or values[edge] != values[edge - 1]):
                value = values[edge]
                bits = value if value == "x" else f"{int(value):b}"
                space = " " if widths.get(name, 1) > 1 else ""
                lines.append(f"{'b' if space else ''}{bits}{space}{codes[name]}")
        if edge:
            lines += [f"#{time + PERIOD // 2}", "0!"]
    lines += [f"#{count * PERIOD}", "1!", f"#{count * PERIOD + PERIOD // 2}", "0!"]
    path.write_text("\n".join(lines) + "\n")
    return path
