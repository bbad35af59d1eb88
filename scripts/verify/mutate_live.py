"""Which bits of what a netlist holds can ever reach one of its outputs."""

__all__ = ["held_for_outputs", "is_state"]

#: Types of the cells that hold state, as they begin.
_STATE = ("$dff", "$adff", "$sdff", "$aldff", "$dlatch", "$mem")

#: Cells of which a bit of the output depends on the bits of the inputs at its place.
_BITWISE = ("$not", "$and", "$or", "$xor", "$xnor", "$pos", "$mux")
#: On those at its place and below.
_CARRY = ("$add", "$sub", "$neg", "$mul")
#: Registers, of which a bit holds what it is given at its place.
_REGISTERS = ("$dff", "$dffe", "$adff", "$adffe", "$sdff", "$sdffe", "$sdffce", "$aldff")
_MEMORY = "$mem_v2"


def is_state(cell):
    """Return whether a cell holds something from one cycle to the next."""
    return cell["type"].startswith(_STATE)


def held_for_outputs(netlist):
    """Return the bits that registers and memories take, of which what they hold matters.

    A bit matters if it decides another that matters, or an output of the module. Every cell is
    taken for one that passes on whatever it can: that is more than really matters, never less.

    Parameters
    ----------
    netlist : dict
        A flat module, as Yosys' ``write_json`` gives it.
    """
    driver = {
        bit: (cell, place)
        for cell in netlist["cells"].values()
        for port, bits in cell["connections"].items()
        if cell["port_directions"][port] == "output"
        for place, bit in enumerate(bits)
    }
    todo = [
        bit
        for port in netlist["ports"].values()
        if port["direction"] == "output"
        for bit in port["bits"]
        if isinstance(bit, int)
    ]
    live, held = set(todo), set()
    while todo:
        bit = todo.pop()
        if bit not in driver:
            continue
        cell, place = driver[bit]
        needed = {one for one in _needed(cell, place) if isinstance(one, int)}
        if is_state(cell):
            held |= needed
        todo += needed - live
        live |= needed
    return held


def _inputs(cell):
    ways = cell["port_directions"]
    return {port: bits for port, bits in cell["connections"].items() if ways[port] == "input"}


def _trailing_zeros(cell):
    """Return how many of the lowest bits of an addend are constants 0."""
    counts = []
    for bits in _inputs(cell).values():
        ones = [place for place, bit in enumerate(bits) if bit != "0"]
        counts.append(ones[0] if ones else len(bits))
    return max(counts)


def _needed(cell, place):
    """Return the bits that the bit at a place of a cell's output depends on."""
    kind, inputs = cell["type"], _inputs(cell)

    def at(bits):
        """Return the bit at the place; of a shorter operand its last, which is the sign."""
        return bits[min(place, len(bits) - 1)]

    if kind in _REGISTERS:
        return {bits[place] if name in ("D", "AD") else bit
                for name, bits in inputs.items() for bit in bits}  # fmt: skip
    if kind == _MEMORY:
        width = int(cell["parameters"]["WIDTH"], 2)
        return {
            bit
            for name, bits in inputs.items()
            for number, bit in enumerate(bits)
            if name not in ("WR_DATA", "WR_EN") or number % width == place % width
        }
    if kind == "$pmux":
        width = len(inputs["A"])
        return {inputs["A"][place], *inputs["B"][place::width], *inputs["S"]}
    if kind in _BITWISE:
        return {at(bits) if name != "S" else bits[0] for name, bits in inputs.items()}
    if kind in _CARRY:
        zeros = _trailing_zeros(cell) if kind == "$add" else 0
        if place < zeros:  # nothing is carried out of where one addend is 0
            return {at(bits) for bits in inputs.values()}
        return {bit for bits in inputs.values() for bit in (*bits[zeros : place + 1], at(bits))}
    return {bit for bits in inputs.values() for bit in bits}
