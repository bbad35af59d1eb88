"""Puts a unit with more ports than a device has pins between registers and four pins."""

__all__ = ["HARNESS", "UNIT", "harness"]

#: Names of the harness and, inside it, of the unit.
HARNESS, UNIT = "harness", "unit"

#: Ports of a unit in the domains of the chip, all of one clock.
CLOCKS, RESETS = {"clk", "core_clk"}, {"rst", "core_rst"}


def harness(ports, module):
    """Return Verilog that drives a unit from a shift register and folds its outputs into one bit.

    So each path of the unit lies between registers, those of the reset too, and none of its logic
    can be left out.

    Parameters
    ----------
    ports : list
        Width, direction and name of each port; those of `CLOCKS` and `RESETS` are the clock and
        the reset.
    module : str
        The unit's module.

    Raises
    ------
    ValueError
        The unit has no inputs, or no outputs.
    """
    total = {"input": 0, "output": 0}
    vectors = {"input": "stimulus", "output": "result"}
    pins = []
    for width, way, name in ports:
        if name in CLOCKS | RESETS:
            pins.append(f".{name}({'clk' if name in CLOCKS else 'reset'})")
        else:
            low = total[way]
            total[way] += int(width)
            pins.append(f".\\{name} ({vectors[way]}[{total[way] - 1}:{low}])")
    inputs, outputs = total.values()
    if not (inputs and outputs):
        raise ValueError(f"module must have inputs and outputs, not {inputs} and {outputs} bits")
    return f"""module {HARNESS}(input clk, input rst, input i, output o);
  reg reset;
  reg [{inputs - 1}:0] stimulus;
  reg [{outputs - 1}:0] folded;
  wire [{outputs - 1}:0] result;
  assign o = folded[{outputs - 1}];
  always @(posedge clk) begin
    reset <= rst;
    stimulus <= {{stimulus, i}};
    folded <= result ^ {{folded, i}};
  end
  \\{module} {UNIT} ({", ".join(pins)});
endmodule
"""
