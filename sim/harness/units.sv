// Write what the chip's units do, whenever that changes (see units.cpp for the format).

module units #(
    parameter int WIDTH = 8
) (
    input logic             clk,
    input logic [63:0]      cycle,
    input logic [WIDTH-1:0] bits
);

    import "DPI-C" function int units_open();
    import "DPI-C" function void units_record(input longint cycle, input longint bits);

    bit enabled;
    initial enabled = units_open() != 0;

    logic [WIDTH-1:0] last = '0;

    always @(posedge clk) begin
        if (enabled && bits != last) begin
            units_record(cycle, 64'(bits));
            last <= bits;
        end
    end

endmodule
