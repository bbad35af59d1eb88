"""Write the chip as plain Verilog, for people who have no Amaranth."""

import re
import sys
from pathlib import Path

from hw.spec.presets import preset
from scripts.command import Parser
from sim.run.chip import TOP, emit_verilog

DEFAULT = Path("build") / f"{TOP}.v"
PORT = re.compile(r"^  (input|output) (?:wire |reg )?(?:\[(\d+):0\] )?(\S+?) ?;", re.M)


def ports(text):
    """Return (direction, width, name) of each port of the top module."""
    start = re.search(rf"^module {TOP}\b", text, re.M).start()
    body = text[start : text.index("endmodule", start)]
    return [(way, int(high or 0) + 1, name) for way, high, name in PORT.findall(body)]


def groups(found):
    """Return the names of the ports, of AXI buses only their prefix, with how many they are."""
    names = {}
    for _, _, name in found:
        bus = re.match(r"(s_axil|m\d+_axi)_", name)
        names[bus[1] if bus else name] = names.get(bus[1] if bus else name, 0) + 1
    return names


def main(arguments=None):
    """Run the command; return its exit status."""
    parser = Parser(prog="verilog", description=__doc__)
    parser.add_argument("--preset", default="small", help="configuration (default: small)")
    parser.add_argument("--out", type=Path, default=DEFAULT, help=f"default: {DEFAULT}")
    options = parser.parse_args(arguments)
    try:
        config = preset(options.preset)
        emit_verilog(config, options.out)
    except (ValueError, OSError) as error:
        print(f"verilog: {error}", file=sys.stderr)
        return 2
    text = options.out.read_text()
    found = ports(text)
    print(f"{options.out}: module {TOP}, preset {options.preset}, {text.count(chr(10)):,} lines")
    for way, width, name in found:
        print(f"  {way:<7}{f'[{width - 1}:0]' if width > 1 else '':<9}{name}")
    buses = {"s_axil": "AXI4-Lite registers", "m0_axi": "AXI4 memory"}
    print(", ".join(f"{n} ({buses.get(n, 'wire')}, {count})" for n, count in groups(found).items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
