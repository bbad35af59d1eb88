"""Proofs that the portable twin of a cell of the FPGA does what the cell does."""

from scripts.synth.yosys import run_yosys

__all__ = ["prove"]


def prove(folder, model, cell, portable, change, solve):
    """Prove that twin and cell put out the same.

    Parameters
    ----------
    folder : Path
        For the tools.
    model : Path
        Verilog of the cell.
    cell, portable : str
        RTLIL of both, called ``explicit`` and ``portable``.
    change : (str, str)
        What is written otherwise in that of the cell, to see the proof fail.
    solve : sequence of str
        Commands of Yosys on the module ``miter``, the last of which proves.

    Raises
    ------
    scripts.synth.yosys.ToolError
        The proof failed.
    """
    assert change[0] in cell
    (folder / "explicit.il").write_text(cell.replace(*change))
    (folder / "portable.il").write_text(portable)
    (folder / "model.v").write_text(model.read_text())
    run_yosys(
        [
            "read_rtlil portable.il",
            "proc",
            "flatten",
            "design -stash portable",
            "read_verilog model.v",
            "read_rtlil explicit.il",
            "hierarchy -check -top explicit",
            "proc",
            "flatten",
            "design -stash explicit",
            "design -copy-from portable portable",
            "design -copy-from explicit explicit",
            "miter -equiv -make_assert -flatten portable explicit miter",
            "hierarchy -top miter",
            *solve,
        ],
        folder,
    )
