"""What listens to a global network of an ECP5, in a netlist that Yosys wrote for nextpnr."""

import json

from scripts.synth.design import write_whole

__all__ = ["off_global_nets", "rewrite"]

#: Cells whose inputs are all logic.
_LOGIC = ("LUT4", "CCU2C", "PFUMX", "L6MUX21")


def off_global_nets(netlist):
    """Let logic take what a global buffer buffers, from before it; return how many inputs did.

    Yosys joins a reset with other conditions, and so logic comes to hear a buffer's output. nextpnr
    leads a global network into logic by the first way it finds, and locks that: what then has no
    other way to the same cell cannot be routed at all.

    Parameters
    ----------
    netlist : dict
        As Yosys' ``write_json`` gives it, with one module of cells that is flat. Changed in place.
    """
    count = 0
    for module in netlist["modules"].values():
        cells = module.get("cells", {}).values()
        before = {
            cell["connections"]["CLKO"][0]: cell["connections"]["CLKI"][0]
            for cell in cells
            if cell["type"] == "DCCA"
        }
        for cell in cells if before else ():
            if cell["type"] not in _LOGIC:
                continue
            for port, bits in cell["connections"].items():
                if set(bits) & set(before) and cell["port_directions"][port] == "input":
                    cell["connections"][port] = [before[bits[0]]]  # inputs of logic have one bit
                    count += 1
    return count


def rewrite(path):
    """Do what `off_global_nets` does, to a netlist in a file."""
    netlist = json.loads(path.read_text())
    if off_global_nets(netlist):
        write_whole(path, json.dumps(netlist))
