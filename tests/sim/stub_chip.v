// What the harness expects of the chip, doing next to nothing: a write to any register starts that
// many bursts of 16 beats from address 0; each beat is traced; irq when all have come.
module serrano (
    input clk, input rst, output reg irq,
    input [11:0] s_axil_awaddr, input s_axil_awvalid, output s_axil_awready,
    input [31:0] s_axil_wdata, input [3:0] s_axil_wstrb, input s_axil_wvalid, output s_axil_wready,
    output [1:0] s_axil_bresp, output reg s_axil_bvalid, input s_axil_bready,
    input [11:0] s_axil_araddr, input s_axil_arvalid, output s_axil_arready,
    output [31:0] s_axil_rdata, output [1:0] s_axil_rresp, output s_axil_rvalid, input s_axil_rready,
    output [3:0] m0_axi_awid, output [31:0] m0_axi_awaddr, output [7:0] m0_axi_awlen,
    output [2:0] m0_axi_awsize, output [1:0] m0_axi_awburst, output m0_axi_awvalid,
    input m0_axi_awready, output [127:0] m0_axi_wdata, output [15:0] m0_axi_wstrb,
    output m0_axi_wlast, output m0_axi_wvalid, input m0_axi_wready, input [3:0] m0_axi_bid,
    input [1:0] m0_axi_bresp, input m0_axi_bvalid, output m0_axi_bready,
    output [3:0] m0_axi_arid, output reg [31:0] m0_axi_araddr, output [7:0] m0_axi_arlen,
    output [2:0] m0_axi_arsize, output [1:0] m0_axi_arburst, output m0_axi_arvalid,
    input m0_axi_arready, input [3:0] m0_axi_rid, input [127:0] m0_axi_rdata,
    input [1:0] m0_axi_rresp, input m0_axi_rlast, input m0_axi_rvalid, output m0_axi_rready,
    output trace_beat_valid, output [15:0] trace_beat_op, output [15:0] trace_beat_row,
    output [15:0] trace_beat_index, output [99:0] trace_beat_data
);
    reg [31:0] bursts, left;
    assign s_axil_awready = s_axil_awvalid & s_axil_wvalid;
    assign s_axil_wready = s_axil_awready;
    assign {s_axil_bresp, s_axil_rresp, s_axil_rdata, s_axil_arready, s_axil_rvalid} = 0;
    assign {m0_axi_awid, m0_axi_awaddr, m0_axi_awlen, m0_axi_awsize, m0_axi_awburst} = 0;
    assign {m0_axi_awvalid, m0_axi_wdata, m0_axi_wstrb, m0_axi_wlast, m0_axi_wvalid} = 0;
    assign m0_axi_bready = 1, m0_axi_arid = 3, m0_axi_arlen = 15, m0_axi_arsize = 4;
    assign m0_axi_arburst = 1, m0_axi_rready = 1, m0_axi_arvalid = bursts != 0;
    assign trace_beat_valid = m0_axi_rvalid, trace_beat_op = 7, trace_beat_row = m0_axi_rid;
    assign trace_beat_index = left[15:0], trace_beat_data = m0_axi_rdata[99:0];
    always @(posedge clk) begin
        s_axil_bvalid <= s_axil_awready | s_axil_bvalid & ~s_axil_bready;
        if (m0_axi_arvalid & m0_axi_arready) begin
            bursts <= bursts - 1;
            m0_axi_araddr <= (m0_axi_araddr + 256) & 32'hffff;
        end
        if (m0_axi_rvalid) begin
            left <= left - 1;
            irq <= left == 1;
        end
        if (s_axil_awready) begin
            bursts <= s_axil_wdata;
            left <= s_axil_wdata * 16;
            m0_axi_araddr <= 0;
            irq <= 0;
        end
        if (rst) begin bursts <= 0; left <= 0; irq <= 0; end
    end
endmodule
