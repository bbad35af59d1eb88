// A board with its SDRAM and the other end of its serial line (uart_pty.sv, sdram.sv).

module simulated_board #(
    parameter int BIT_CYCLES = 100
);

    bit clk = 0, rst = 1;
    always #5 clk = ~clk;
    initial #100 rst = 0;

    wire to_board, from_board;
    wire cke, cs_n, ras_n, cas_n, we_n, dq_write_enable;
    wire [1:0] ba, dqm;
    wire [12:0] a;
    wire [15:0] dq_read, dq_write;

    uart_pty #(.BIT_CYCLES(BIT_CYCLES)) uart (.clk, .tx(to_board), .rx(from_board));

    sdram sdram (
        .clk, .cke, .cs_n, .ras_n, .cas_n, .we_n, .ba, .a, .dqm, .dq_write, .dq_write_enable,
        .dq_read, .cycles(), .words_read(), .words_written()
    );

    board board (
        .clk, .rst, .rx(to_board), .tx(from_board), .leds(),
        .sdram__cke(cke), .sdram__cs_n(cs_n), .sdram__ras_n(ras_n), .sdram__cas_n(cas_n),
        .sdram__we_n(we_n), .sdram__ba(ba), .sdram__a(a), .sdram__dqm(dqm),
        .sdram__dq_out(dq_write), .sdram__dq_oe(dq_write_enable), .sdram__dq_in(dq_read)
    );

endmodule
