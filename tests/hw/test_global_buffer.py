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
from scripts.synth.yosys import ToolError, run_yosys

MODEL = Path(__file__).with_name("dcca.v")


def prove(folder, change=("", "")):
    """Prove that twin and cell put out the same for every input."""
    cell = rtlil.convert(GlobalBuffer(), name="explicit", platform=Lfe5u85f())
    assert change[0] in cell
    (folder / "explicit.il").write_text(cell.replace(*change))
    (folder / "portable.il").write_text(rtlil.convert(GlobalBuffer(), name="portable"))
    (folder / "model.v").write_text(MODEL.read_text())
    run_yosys(
        [
            "read_rtlil portable.il",
            "design -stash portable",
            "read_verilog model.v",
            "read_rtlil explicit.il",
            "hierarchy -check -top explicit",
            "proc",
            "flatten",
            "design -copy-from portable portable",
            "miter -equiv -make_assert -flatten portable explicit miter",
            "hierarchy -top miter",
            "sat -verify -prove-asserts -set-def-inputs miter",
        ],
        folder,
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
