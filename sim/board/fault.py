"""What can be wrong with a simulated board, on purpose."""

from dataclasses import dataclass, field

from hw.board.sdram_pins import DQ_WIDTH
from hw.spec.bridge import VERSION

__all__ = ["FAULTS", "Fault", "fault"]

#: Name, what is wrong, and its values: names with what they are by default.
FAULTS = {
    "stuck_bit": ("a data line of the SDRAM always is at one level", {"bit": 5, "level": 0}),
    "swapped_address": ("two address lines of the SDRAM are exchanged", {"line": 0, "other": 7}),
    "retention": ("rows of the SDRAM lose their data before they are refreshed", {"us": 1000}),
    "baud": ("the host's baud rate is so many percent of the board's", {"percent": 50}),
    "dropped_bytes": ("every n-th byte from the host is lost", {"n": 3001}),
    "version": ("the bitstream is of another version", {"version": VERSION + 1}),
}


@dataclass(frozen=True)
class Fault:
    """One of `FAULTS` with its values.

    Members
    -------
    name : str
        Of `FAULTS`.
    values : dict
        Whole numbers by name.
    """

    name: str
    values: dict = field(default_factory=dict)

    def sdram(self):
        """Return the options of the simulated SDRAM, for `sim.harness.sdram.plusargs`."""
        values = self.values
        return {
            "stuck_bit": lambda: {"stuck_bit": values["bit"], "stuck_value": values["level"]},
            "swapped_address": lambda: {"swap_a": values["line"], "swap_b": values["other"]},
            "retention": lambda: {"retention": values["us"] * 1_000_000},
        }.get(self.name, dict)()

    def check(self, port_bytes):
        """Raise ValueError if nobody can see it on a chip whose port has so many bytes.

        Address lines that are exchanged only rename words, unless the SDRAM counts on one of them
        inside of a burst, which is a beat of the port, and not on the other.
        """
        if self.name != "swapped_address":
            return
        words = port_bytes * 8 // DQ_WIDTH
        line, other = self.values["line"], self.values["other"]
        if (1 << line < words) == (1 << other < words):
            raise ValueError(
                f"fault swapped_address:{line}:{other} only renames words, which nobody can see: "
                f"one of the lines must be below {words.bit_length() - 1}, as a burst has {words} "
                "words, and the other not"
            )

    def line(self, bit_cycles):
        """Return the simulator's arguments for the serial line, whose bits have so many cycles."""
        if self.name == "baud":
            return [f"+uart_bit_cycles={max(1, round(bit_cycles * 100 / self.values['percent']))}"]
        return [f"+uart_drop={self.values['n']}"] if self.name == "dropped_bytes" else []

    @property
    def version(self):
        """Version of the protocol that the board tells."""
        return self.values["version"] if self.name == "version" else VERSION


_LIMITS = {
    "bit": (0, 15), "level": (0, 1), "line": (0, 8), "other": (0, 8), "us": (1, 64_000),
    "percent": (10, 1000), "n": (2, 1 << 30), "version": (0, 0xFFFF),
}  # fmt: skip


def fault(text):
    """Return the `Fault` that a text names: ``stuck_bit`` or ``stuck_bit:5:1``.

    Raises
    ------
    ValueError
        There is no such fault, or it has no such values.
    """
    name, *words = text.split(":")
    if name not in FAULTS:
        raise ValueError(f"fault must be one of {', '.join(FAULTS)}, not {name!r}")
    values = dict(FAULTS[name][1])
    if len(words) > len(values):
        raise ValueError(f"fault {name} has the values {', '.join(values)}, not {len(words)}")
    for key, word in zip(values, words, strict=False):
        low, high = _LIMITS[key]
        if not word.isdecimal() or not low <= int(word) <= high:
            raise ValueError(f"{key} of fault {name} must be {low} to {high}, not {word!r}")
        values[key] = int(word)
    return Fault(name, values)
