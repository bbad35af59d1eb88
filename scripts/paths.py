"""Show the slowest register-to-register paths of a synthesised design, by estimate.

The netlist is what `make fpga` (board.json) and `make pnr` (design.json) leave in `build`.
"""

import json
import sys
from pathlib import Path

from scripts.command import Parser
from scripts.synth.path_estimate import slowest


def main(arguments=None):
    """Run the command; return its exit status."""
    parser = Parser(prog="paths", description=__doc__)
    parser.add_argument("netlist", type=Path, help="JSON that Yosys wrote")
    parser.add_argument("--count", type=int, default=40, help="of paths to show (default: 40)")
    options = parser.parse_args(arguments)
    try:
        modules = json.loads(options.netlist.read_text())["modules"]
        tops = [module for module in modules.values() if module["attributes"].get("top")]
        if len(tops) != 1:
            raise ValueError(f"the netlist must have one top module, not {len(tops)}")
        found = slowest(tops[0])
    except (OSError, KeyError, TypeError, ValueError) as error:
        print(f"paths: {options.netlist} is no netlist of Yosys: {error}", file=sys.stderr)
        return 2
    for path in found[: options.count]:
        print(f"{path.delay:6.2f} ns {path.depth:3d} cells  {path.start} -> {path.end}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
