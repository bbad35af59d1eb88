// A 16-bit SDR-SDRAM chip that checks every rule of its data sheet; its contents are a file.
//
// Everything that decides is in sdram.cpp, which also documents the options. The pins are sampled
// at each clock edge, and `dq_read` is a register: what it shows is to be sampled at the next.

module sdram (
    input  logic        clk,
    input  logic        cke,
    input  logic        cs_n,
    input  logic        ras_n,
    input  logic        cas_n,
    input  logic        we_n,
    input  logic [1:0]  ba,
    input  logic [12:0] a,
    input  logic [1:0]  dqm,
    input  logic [15:0] dq_write,
    input  logic        dq_write_enable,
    output logic [15:0] dq_read,

    // Since the start of the simulation.
    output logic [63:0] cycles,
    output logic [63:0] words_read,
    output logic [63:0] words_written
);

    import "DPI-C" function int sdram_open();

    import "DPI-C" function int sdram_tick(
        input longint cycle, input int command, input int address, input int dq, input int dqm
    );

    initial if (sdram_open() == 0) $finish;

    int answer;

    initial {dq_read, cycles, words_read, words_written} = '0;

    always @(posedge clk) begin
        // Bits of the answer, as sdram.cpp packs them.
        answer = sdram_tick(
            cycles, 32'({cke, cs_n, ras_n, cas_n, we_n}), 32'({ba, a}),
            32'({dq_write_enable, dq_write}), 32'(dqm)
        );
        dq_read <= answer[15:0];
        if (answer[16]) $fatal(1, "sdram: a rule was broken");
        cycles <= cycles + 1;
        words_read <= words_read + 64'(answer[17]);
        words_written <= words_written + 64'(answer[18]);
    end

endmodule
