"""The global buffer of an ECP5, and its portable twin.

What is trusted is `tests/hw/dcca.v`, our model of the cell; Yosys has none. The twin is proved
equal to the cell with this model for both values of its input. Delay, and the network behind the
cell, are what the placer knows.
"""

from pathlib import Path

import pytest
from amaranth.back import rtlil

from hw.ecp5.device import Lfe5u85f
from hw.ecp5.global_buffer import GlobalBuffer
from scripts.synth.yosys import ToolError
from tests.support import twins

MODEL = Path(__file__).with_name("dcca.v")


def prove(folder, change=("", "")):
    """Prove that twin and cell put out the same for every input."""
    twins.prove(
        folder,
        MODEL,
        rtlil.convert(GlobalBuffer(), name="explicit", platform=Lfe5u85f()),
        rtlil.convert(GlobalBuffer(), name="portable"),
        change,
        ("sat -verify -prove-asserts -set-def-inputs miter",),
    )


def test_twin_is_proved_equal_to_the_cell(tmp_path):
    prove(tmp_path)


@pytest.mark.parametrize(
    ("old", "new"),
    [("\\CE 1'1", "\\CE 1'0"), ("\\CLKI \\i", "\\CLKI 1'1")],
    ids=["disabled", "not_connected"],
)
def test_proof_fails_for_another_cell(old, new, tmp_path):
    with pytest.raises(ToolError, match="proof did fail"):
        prove(tmp_path, (old, new))


def test_cell_is_used_on_an_ecp5_only():
    cell = "cell \\DCCA "
    assert rtlil.convert(GlobalBuffer(), name="buffer", platform=Lfe5u85f()).count(cell) == 1
    assert cell not in rtlil.convert(GlobalBuffer(), name="buffer")
