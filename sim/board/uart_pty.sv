// The other end of a board's serial line, which a host program opens as a serial port.
//
// Bits have their true length in clock cycles; bytes come from and go to a pseudo-terminal
// (uart_pty.cpp). `+uart_bit_cycles=` sets another length of a bit than the board has, as a host
// with a wrong baud rate would. 8 data bits, no parity, one stop bit.

module uart_pty #(
    parameter int BIT_CYCLES = 100
) (
    input  logic clk,
    output logic tx,  // to the board
    input  logic rx   // from the board
);

    import "DPI-C" function int uart_pty_open();
    import "DPI-C" function int uart_pty_get();
    import "DPI-C" function void uart_pty_put(input int value);
    import "DPI-C" function void uart_pty_close();

    int bit_cycles = BIT_CYCLES;
    initial begin
        tx = 1;
        void'($value$plusargs("uart_bit_cycles=%d", bit_cycles));
        if (uart_pty_open() == 0) $finish;
    end
    final uart_pty_close();

    // To the board. The pseudo-terminal is asked once in a bit while there is nothing to send.
    int tx_wait = 0;      // cycles of this bit that are left
    int tx_bits = 0;      // bits that are left, this one included
    logic [8:0] tx_rest;  // data after this bit, and the stop bit
    int tx_byte;
    always @(posedge clk) begin
        if (tx_wait > 1) begin
            tx_wait <= tx_wait - 1;
        end else if (tx_bits > 1) begin
            tx <= tx_rest[0];
            tx_rest <= {1'b1, tx_rest[8:1]};
            tx_bits <= tx_bits - 1;
            tx_wait <= bit_cycles;
        end else begin
            tx_byte = uart_pty_get();
            tx_wait <= bit_cycles;
            if (tx_byte >= 0) begin
                tx <= 0;
                tx_rest <= {1'b1, tx_byte[7:0]};
                tx_bits <= 10;
            end else begin
                tx <= 1;
                tx_bits <= 0;
            end
        end
    end

    // From the board, sampled once in the middle of each bit.
    int rx_wait = 0;
    int rx_bits = 0;  // bits to be sampled yet, the stop bit included; -1: line to rise
    logic [7:0] rx_byte;
    always @(posedge clk) begin
        if (rx_bits < 0) begin
            if (rx) rx_bits <= 0;
        end else if (rx_bits == 0) begin
            if (!rx) begin
                rx_bits <= 9;
                rx_wait <= bit_cycles + bit_cycles / 2;
            end
        end else if (rx_wait > 1) begin
            rx_wait <= rx_wait - 1;
        end else if (rx_bits > 1) begin
            rx_byte <= {rx, rx_byte[7:1]};
            rx_bits <= rx_bits - 1;
            rx_wait <= bit_cycles;
        end else begin
            // Without a stop bit the byte is lost, and the line must rest first.
            if (rx) uart_pty_put(int'(rx_byte));
            rx_bits <= rx ? 0 : -1;
        end
    end

endmodule
