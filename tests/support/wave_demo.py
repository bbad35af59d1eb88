"""A waveform of one stream and one level, for tests of the waveform regression."""

from scripts.waves.sample import sample
from scripts.waves.scenario import Scenario
from scripts.waves.trace import Window, level, stream

from .waveform import write_vcd

__all__ = ["CHANNELS", "ONLY", "SIGNALS", "WIDTHS", "WINDOW", "traced"]

WINDOW = Window(("dut.rst", 0, 1), lead=0)
CHANNELS = (stream("dut.o"), level("dut.busy"))
#: A stream that offers 5, 5 and 9, and holds the 9 until it is taken; and a signal by itself.
SIGNALS = {
    "rst": [1, 0, 0, 0, 0, 0, 0, 0, 0],
    "o__valid": [0, 0, 1, 1, 0, 1, 1, 0, 0],
    "o__ready": [0, 0, 1, 1, 1, 0, 1, 1, 1],
    "o__payload": [0, 0, 5, 5, 3, 9, 9, 0, 0],
    "busy": [0, 1, 1, 1, 1, 1, 1, 0, 0],
}
WIDTHS = {"o__payload": 8}
ONLY = Scenario("demo", None, CHANNELS, WINDOW, "dut.clk")


def traced(folder, window=WINDOW, channels=CHANNELS, **changes):
    """Return the trace of `SIGNALS`, some of them changed, written into a folder."""
    path = write_vcd(folder / "wave.vcd", SIGNALS | changes, WIDTHS)
    return sample(path, "demo", "dut.clk", channels, window)
