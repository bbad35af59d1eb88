// Write what passes a point of the chip to the trace file (see probe.cpp for its format).

module probe #(
    parameter int KIND = 0,
    parameter int WIDTH = 8
) (
    input logic             clk,
    input logic [63:0]      cycle,
    input logic             valid,
    input logic [15:0]      op,
    input logic [15:0]      row,
    input logic [15:0]      index,
    input logic [WIDTH-1:0] data
);

    import "DPI-C" function int probe_open();
    import "DPI-C" function void probe_record(
        input int kind, input int op, input int row, input int index, input longint cycle
    );
    import "DPI-C" function void probe_word(input longint word);

    localparam int WORDS = (WIDTH + 63) / 64;

    bit enabled;
    initial enabled = probe_open() != 0;

    wire [64*WORDS-1:0] padded = (64*WORDS)'(data);

    always @(posedge clk) begin
        if (enabled & valid) begin
            probe_record(KIND, 32'(op), 32'(row), 32'(index), cycle);
            for (int i = 0; i < WORDS; i++) probe_word(padded[64*i +: 64]);
        end
    end

endmodule
