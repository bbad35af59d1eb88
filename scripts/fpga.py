"""Make the bitstream of a board, and say how fast and how large it is."""

import sys

from hw.board.boards import BOARDS, board
from scripts.command import Parser, say
from scripts.fpga_flow import BUILD, bitstream, synthesise
from scripts.pnr_flow import versions
from scripts.pnr_report import critical_path, frequency, update
from scripts.synth import summary
from scripts.synth.design import ROOT, write_whole
from scripts.synth.yosys import ToolError, notice

DOCS = ROOT / "docs" / "board.md"

_KINDS = {"ff": "TRELLIS_FF", "dsp": "MULT18X18D", "bram": "DP16KD"}


def text(target, cells, report, seed):
    """Return the result as Markdown.

    Parameters
    ----------
    target : Board
        What was built.
    cells : dict
        Cells by kind.
    report : dict
        nextpnr's.
    seed : int
        Of the placer.
    """
    used = ", ".join(
        f"{count['used']:,} of {count['available']:,} {kind}"
        for kind, count in report["utilization"].items()
        if count["used"] and kind in ("TRELLIS_COMB", "TRELLIS_FF", "MULT18X18D", "DP16KD")
    )
    return (
        f"**{target.name}: {frequency(report):.1f} MHz** on its LFE5U-85F, speed grade 6 "
        f"(must reach {target.clock_hz / 1e6:g}), preset {target.preset}.\n\n"
        f"- cells: {used}; {cells['lut']:,} LUT4\n"
        f"- slowest path: {critical_path(report)}\n"
        f"- `make fpga BOARD={target.name} SEED={seed}` with {versions()}\n"
    )


def run(options):
    """Build the bitstream, write the report; return what is wrong, or None."""
    target = board(options.board)
    seed = target.seed if options.seed is None else options.seed
    if first := notice():
        print(first)
    folder = BUILD / target.name
    (folder / "report.md").unlink(missing_ok=True)
    say(f"{target.name}: synthesis, some minutes")
    cells = synthesise(target, folder)
    say(f"{target.name}: place and route, half an hour; log {folder / 'nextpnr.log'}")
    report, path = bitstream(target, folder, seed=seed)
    body = text(target, cells, report, seed)
    write_whole(folder / "report.md", body)
    print(body, end="")
    reached, wanted = frequency(report), target.clock_hz / 1e6
    if reached < wanted:
        path.unlink(missing_ok=True)
        return (
            f"{target.name}: timing is missed: {reached:.1f} MHz, must reach {wanted:g} MHz "
            "(try another SEED=)"
        )
    print(f"bitstream: {path}")
    if options.accept:
        update("fpga", target.name, body, DOCS)
        summary.record(_row(target, cells, report, seed))
    return None


def _row(target, cells, report, seed):
    """Return the row of a board in the table of docs/pnr.md."""
    counts = {name: report["utilization"][kind]["used"] for name, kind in _KINDS.items()}
    command = f"make fpga BOARD={target.name} SEED={seed}"
    return summary.row(
        f"{target.name}, whole board", summary.PLACED, counts | {"lut": cells["lut"]},
        frequency(report), versions(), command,
    )  # fmt: skip


def main(arguments=None):
    """Run the command; return its exit status."""
    parser = Parser(prog="fpga", description=__doc__)
    parser.add_argument("--board", default="ulx3s", help=f"{', '.join(BOARDS)} (default: ulx3s)")
    parser.add_argument("--seed", type=int, help="of the placer (default: the board's own)")
    parser.add_argument(
        "--accept", action="store_true", help="record the result in docs/board.md and docs/pnr.md"
    )
    options = parser.parse_args(arguments)
    try:
        wrong = run(options)
    except (ValueError, OSError, ToolError) as error:
        print(f"fpga: {error}", file=sys.stderr)
        return 2
    if wrong:
        print(f"fpga: {wrong}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
