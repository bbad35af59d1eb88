"""The ports of a Verilog module, and the modules around it that record and replay them.

A recording is text, a line for each clock cycle: all inputs, a blank, all outputs, in hexadecimal,
the first port lowest; as they are right before the rising edge. Neither has the clock.
"""

import re
from dataclasses import dataclass

__all__ = ["CLOCK", "RESET", "Port", "Ports", "ports_of"]

CLOCK, RESET = "clk", "rst"

_PORT = re.compile(r"^  (input|output) (?:wire )?(?:\[(\d+):0\] )?\\?(\S+?) ?;", re.M)


@dataclass(frozen=True)
class Port:
    """A port: its name, its width in bits, and its lowest bit among those of its direction."""

    name: str
    width: int
    offset: int


@dataclass(frozen=True)
class Ports:
    """The ports of a module but its clock.

    Members
    -------
    inputs, outputs : tuple of Port
    """

    inputs: tuple
    outputs: tuple

    @property
    def reset(self):
        """Bit of the reset among the inputs."""
        return next(port.offset for port in self.inputs if port.name == RESET)

    def first_difference(self, expected, got):
        """Return (name, value expected, value got) of the first output that differs, or None."""
        for port in self.outputs:
            mask = (1 << port.width) - 1
            want, have = expected >> port.offset & mask, got >> port.offset & mask
            if want != have:
                return port.name, want, have
        return None


def _width(ports):
    return sum(port.width for port in ports)


def ports_of(text, top, *, leave_out=()):
    """Return the `Ports` of a module of Verilog that Yosys wrote.

    Parameters
    ----------
    text : str
        The Verilog.
    top : str
        The module's name.
    leave_out : tuple of str
        Starts of the names of outputs that do not count.

    Raises
    ------
    ValueError
        There is no such module, or it has no clock or no reset.
    """
    start = re.search(rf"^module {re.escape(top)}\b", text, re.M)
    if start is None:
        raise ValueError(f"there is no module {top}")
    found = {"input": [], "output": []}
    names = set()
    for way, high, name in _PORT.findall(text, start.start(), text.index("endmodule", start.end())):
        names.add(name)
        if name == CLOCK or name.startswith(leave_out or ("\0",)):
            continue
        ports = found[way]
        ports.append(Port(name, int(high or 0) + 1, _width(ports)))
    for name in (CLOCK, RESET):
        if name not in names:
            raise ValueError(f"module {top} must have a port {name}")
    return Ports(tuple(found["input"]), tuple(found["output"]))


#: Payload, and the output that says when it counts: of streams, and of the channels of AXI.
_PAYLOADS = (
    (re.compile(r"(.+)__payload$"), r"\1__valid"),
    (re.compile(r"(.+_)(aw|ar|w|r|b)(?!valid|ready)[a-z]+$"), r"\1\2valid"),
)
_DATA = re.compile(r"(.+_)wdata$")
_BYTE = 8


def _qualified(ports):
    """Return (lowest bit, width, bits that are all 1 when these count) of what is a payload."""
    at = {port.name: port for port in ports.outputs}
    found = []
    for port in ports.outputs:
        for pattern, valid in _PAYLOADS:
            match = pattern.match(port.name)
            valid = at.get(match.expand(valid)) if match else None
            if valid is None:
                continue
            strobe = _DATA.match(port.name) and at.get(f"{port.name.removesuffix('data')}strb")
            if strobe:
                found += [
                    (port.offset + _BYTE * n, _BYTE, (valid.offset, strobe.offset + n))
                    for n in range(strobe.width)
                ]
            else:
                found.append((port.offset, port.width, (valid.offset,)))
            break
    return found


def _joined(ports):
    return f"{{{', '.join(port.name for port in reversed(ports))}}}"


def _declared(way, port):
    return f"{way} {f'[{port.width - 1}:0] ' if port.width > 1 else ''}{port.name}"


def recorder(every, recorded, top, inner):
    """Return a module ``top`` that is module ``inner``, and writes the file of ``+ports=``.

    Parameters
    ----------
    every : Ports
        Its ports.
    recorded : Ports
        Those that are recorded.
    top, inner : str
        Names of modules.
    """
    ports = [f"input {CLOCK}"]
    ports += [_declared("input", port) for port in every.inputs]
    ports += [_declared("output", port) for port in every.outputs]
    links = [f".{name}({name})" for name in (CLOCK, *(p.name for p in every.inputs))]
    links += [f".{port.name}({port.name})" for port in every.outputs]
    return f"""\
module {top} (
    {f",{chr(10)}    ".join(ports)}
);
    {inner} inner ({", ".join(links)});

    string path;
    int file = 0;
    initial if ($value$plusargs("ports=%s", path)) file = $fopen(path, "w");
    always @(posedge {CLOCK}) begin
        if (file != 0) $fdisplay(
            file, "%h %h", {_joined(recorded.inputs)}, {_joined(recorded.outputs)}
        );
    end
    final if (file != 0) $fclose(file);
endmodule
"""


def player(ports, top):
    """Return a module ``replay`` that drives ``top`` with the file of ``+recording=``.

    It compares from the cycle after the first with a reset, and prints ``equal <cycles>``, or
    ``differs <cycle> <outputs expected> <outputs got>``. With ``+qualified`` payloads count only
    when they are valid, bytes that are written only with their strobe: the others hold whatever
    the state at the start was.
    """
    counts = "\n            ".join(
        f"counts[{low + width - 1}:{low}] = "
        f"{{{width}{{{' & '.join(f'expected[{bit}]' for bit in bits)}}}}};"
        for low, width, bits in _qualified(ports)
    )
    links = [f".{CLOCK}({CLOCK})"]
    for bus, group in (("inputs", ports.inputs), ("outputs", ports.outputs)):
        links += [f".{p.name}({bus}[{p.offset + p.width - 1}:{p.offset}])" for p in group]
    return f"""\
module replay;
    reg {CLOCK} = 0;
    reg [{_width(ports.inputs) - 1}:0] inputs = 0;
    reg [{_width(ports.outputs) - 1}:0] expected = 0;
    wire [{_width(ports.outputs) - 1}:0] outputs;
    reg [8*1024:1] path;
    integer file, cycle;
    reg was_reset, same, qualified;
    reg [{_width(ports.outputs) - 1}:0] counts;

    {top} dut (
        {f",{chr(10)}        ".join(links)}
    );

    initial begin
        cycle = 0;
        was_reset = 0;
        same = 1;
        file = 0;
        qualified = $test$plusargs("qualified") != 0;
        if ($value$plusargs("recording=%s", path)) file = $fopen(path, "r");
        while (same && file != 0 && $fscanf(file, "%h %h\\n", inputs, expected) == 2) begin
            #4;
            counts = ~0;
            if (qualified) begin
            {counts}
            end
            if (was_reset && (outputs & counts) !== (expected & counts)) begin
                $display("differs %0d %h %h", cycle, expected & counts, outputs & counts);
                same = 0;
            end
            if (inputs[{ports.reset}]) was_reset = 1;
            {CLOCK} = 1;
            #5;
            {CLOCK} = 0;
            #1;
            cycle = cycle + 1;
        end
        if (same) $display("equal %0d", cycle);
        $finish;
    end
endmodule
"""


def cxxrtl_ports(ports, top):
    """Return C++ for `replay.cpp`: the type ``Top`` and what moves its ports."""

    def moves(call, group):
        lines = [
            f"    {call}(top.{_mangled(port.name)}, bits, {port.offset}, {port.width});"
            for port in group
        ]
        return "\n".join(lines)

    return f"""\
using Top = cxxrtl_design::{_mangled(top)};
constexpr int INPUTS = {_width(ports.inputs)}, OUTPUTS = {_width(ports.outputs)};
constexpr int RESET = {ports.reset};

inline void set_clock(Top& top, bool value) {{ top.{_mangled(CLOCK)}.set<bool>(value); }}

inline void set_inputs(Top& top, const Bits& bits) {{
{moves("put", ports.inputs)}
}}

inline void get_outputs(const Top& top, Bits& bits) {{
{moves("take", ports.outputs)}
}}
"""


def _mangled(name):
    """Return what `write_cxxrtl` makes of a name."""
    return "p_" + "".join(c if c.isalnum() else "__" if c == "_" else f"_{ord(c):x}_" for c in name)
