// The harness without cocotb: writes the registers of a file, then waits for the interrupt.
//
//   +registers=<file>   lines of offset and value, both hexadecimal, the last of which starts a run

module bare;

    logic rst = 1;
    wire irq;
    logic [11:0] s_axil_awaddr = 0, s_axil_araddr = 0;
    logic s_axil_awvalid = 0, s_axil_wvalid = 0, s_axil_bready = 1;
    logic s_axil_arvalid = 0, s_axil_rready = 1;
    logic [31:0] s_axil_wdata = 0;
    logic [3:0] s_axil_wstrb = '1;
    wire s_axil_awready, s_axil_wready, s_axil_bvalid, s_axil_arready, s_axil_rvalid;
    wire [1:0] s_axil_bresp, s_axil_rresp;
    wire [31:0] s_axil_rdata;

    harness h (.*);

    task automatic write(input int offset, input int value);
        s_axil_awaddr <= offset[11:0];
        s_axil_wdata <= value;
        s_axil_awvalid <= 1;
        s_axil_wvalid <= 1;
        @(posedge h.clk);  // both are taken: no other write is under way
        while (!(s_axil_awready & s_axil_wready)) @(posedge h.clk);
        s_axil_awvalid <= 0;
        s_axil_wvalid <= 0;
        while (!s_axil_bvalid) @(posedge h.clk);
        @(posedge h.clk);
    endtask

    string path;
    int file, offset, value;
    initial begin
        if (!$value$plusargs("registers=%s", path)) $fatal(1, "bare: +registers=<file> is missing");
        file = $fopen(path, "r");
        if (file == 0) $fatal(1, "bare: cannot open %s", path);
        repeat (4) @(posedge h.clk);
        rst <= 0;
        @(posedge h.clk);
        while ($fscanf(file, "%h %h", offset, value) == 2) write(offset, value);
        @(posedge irq);
        $display("bare: cycles %0d", h.cycle);
        $finish;
    end

endmodule
