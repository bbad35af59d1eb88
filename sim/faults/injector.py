"""The part of the harness that makes a fault at a cycle that cocotb chooses."""

__all__ = ["DRAM", "FAULTS", "NAMES", "injector"]

#: ``fault_target`` for a fault of memory channel 0; ``fault_row`` is then one of `FAULTS`.
DRAM = 0xFFFF_FFFF

#: Kinds of `axi_dram_fault` in sim/harness/axi_dram.cpp.
FAULTS = {"flip": 0, "answer": 1, "stall": 2, "ecc": 3}

#: Names that cocotb must be able to write.
NAMES = ("fault_*",)


def injector(targets):
    """Return lines for `sim.harness.harness.write`.

    ``fault_armed`` starts a count of cycles; at ``fault_cycle`` the bit ``fault_bit`` of row
    ``fault_row`` of the target of number ``fault_target`` in ``targets`` flips, half a cycle after
    the clock's edge.
    """
    cases = []
    for number, target in enumerate(targets):
        place = f"chip.{target.reference}" + ("[fault_row]" if target.depth else "")
        flipped = f"{place} ^ ({target.width}'(1) << fault_bit)"
        cases.append(f"            {number}: {place} <= {flipped};")
    lines = "\n".join(cases)
    return f"""
    // A fault (sim/faults/injector.py).
    import "DPI-C" function void axi_dram_fault(
        input int channel, input int kind, input longint a, input longint b);
    reg fault_armed = 0;
    reg [31:0] fault_cycle = 0, fault_target = 0, fault_row = 0, fault_bit = 0, fault_age = 0;
    reg [31:0] fault_a = 0, fault_b = 0;
    always @(posedge clk) fault_age <= fault_armed ? fault_age + 1 : 0;
    always @(negedge clk) if (fault_armed && fault_age == fault_cycle) begin
        case (fault_target)
{lines}
            default: axi_dram_fault(0, fault_row, 64'(fault_a), 64'(fault_b));
        endcase
    end
"""
