// One memory channel: an AXI4 subordinate whose contents are a file, with the timing of a DRAM.
//
// Everything that decides is in axi_dram.cpp, which also documents the timing; this module samples
// the ports at each clock edge and shows what it is told. All outputs are registers. Nothing is
// called in a cycle in which the channel has nothing to do.
//
// INCR bursts of any length and size; FIXED and WRAP get SLVERR. Reads are answered in order.

module axi_dram #(
    parameter int CHANNEL = 0,
    parameter int ADDR_WIDTH = 32,
    parameter int DATA_BYTES = 16,
    parameter int ID_WIDTH = 4
) (
    input  logic                    clk,
    input  logic                    rst,

    input  logic [ID_WIDTH-1:0]     s_axi_awid,
    input  logic [ADDR_WIDTH-1:0]   s_axi_awaddr,
    input  logic [7:0]              s_axi_awlen,
    input  logic [2:0]              s_axi_awsize,
    input  logic [1:0]              s_axi_awburst,
    input  logic                    s_axi_awvalid,
    output logic                    s_axi_awready,
    input  logic [8*DATA_BYTES-1:0] s_axi_wdata,
    input  logic [DATA_BYTES-1:0]   s_axi_wstrb,
    input  logic                    s_axi_wlast,
    input  logic                    s_axi_wvalid,
    output logic                    s_axi_wready,
    output logic [ID_WIDTH-1:0]     s_axi_bid,
    output logic [1:0]              s_axi_bresp,
    output logic                    s_axi_bvalid,
    input  logic                    s_axi_bready,
    input  logic [ID_WIDTH-1:0]     s_axi_arid,
    input  logic [ADDR_WIDTH-1:0]   s_axi_araddr,
    input  logic [7:0]              s_axi_arlen,
    input  logic [2:0]              s_axi_arsize,
    input  logic [1:0]              s_axi_arburst,
    input  logic                    s_axi_arvalid,
    output logic                    s_axi_arready,
    output logic [ID_WIDTH-1:0]     s_axi_rid,
    output logic [8*DATA_BYTES-1:0] s_axi_rdata,
    output logic [1:0]              s_axi_rresp,
    output logic                    s_axi_rlast,
    output logic                    s_axi_rvalid,
    input  logic                    s_axi_rready,

    // Since the start of the simulation.
    output logic [63:0]             bytes_read,
    output logic [63:0]             bytes_written,
    output logic [63:0]             busy_cycles,  // cycles with a request outstanding
    output logic [63:0]             ecc_corrected,  // words, with ECC
    output logic [63:0]             ecc_uncorrected
);

    import "DPI-C" function int axi_dram_open(input int channel, input int data_bytes);

    import "DPI-C" function longint axi_dram_tick(
        input int channel,
        input longint cycle,
        input bit rst,
        input bit awvalid,
        input longint awaddr,
        input int aw,
        input bit wvalid,
        input bit wlast,
        input bit [8*DATA_BYTES-1:0] wdata,
        input bit [DATA_BYTES-1:0] wstrb,
        input bit bready,
        input bit arvalid,
        input longint araddr,
        input int ar,
        input bit rready,
        output bit [8*DATA_BYTES-1:0] rdata
    );

    initial if (axi_dram_open(CHANNEL, DATA_BYTES) == 0) $finish;

    // Bits of the answer, as axi_dram.cpp packs them.
    logic busy = 0;
    logic [63:0] cycle = 0;  // number of the clock edge
    logic [63:0] answer;
    logic [8*DATA_BYTES-1:0] rdata;

    initial begin
        {s_axi_awready, s_axi_wready, s_axi_bvalid, s_axi_arready, s_axi_rvalid} = '0;
        {s_axi_bid, s_axi_bresp, s_axi_rid, s_axi_rdata, s_axi_rresp, s_axi_rlast} = '0;
        {bytes_read, bytes_written, busy_cycles, ecc_corrected, ecc_uncorrected} = '0;
    end

    wire request = s_axi_awvalid | s_axi_wvalid | s_axi_arvalid;

    always @(posedge clk) begin
        if (rst | busy | request | ~s_axi_arready) begin
            answer = axi_dram_tick(
                CHANNEL, cycle, rst,
                s_axi_awvalid, 64'(s_axi_awaddr),
                32'({s_axi_awid, s_axi_awburst, s_axi_awsize, s_axi_awlen}),
                s_axi_wvalid, s_axi_wlast, s_axi_wdata, s_axi_wstrb,
                s_axi_bready,
                s_axi_arvalid, 64'(s_axi_araddr),
                32'({s_axi_arid, s_axi_arburst, s_axi_arsize, s_axi_arlen}),
                s_axi_rready, rdata
            );
            busy <= answer[0];
            s_axi_awready <= answer[1];
            s_axi_wready <= answer[2];
            s_axi_arready <= answer[3];
            s_axi_bvalid <= answer[4];
            s_axi_rvalid <= answer[5];
            s_axi_rlast <= answer[6];
            s_axi_bresp <= answer[9:8];
            s_axi_rresp <= answer[11:10];
            s_axi_bid <= answer[16 +: ID_WIDTH];
            s_axi_rid <= answer[32 +: ID_WIDTH];
            s_axi_rdata <= rdata;
            ecc_corrected <= ecc_corrected + 64'(answer[51:48]);
            ecc_uncorrected <= ecc_uncorrected + 64'(answer[55:52]);
            if (busy | request) busy_cycles <= busy_cycles + 1;
        end
        cycle <= cycle + 1;
        if (s_axi_rvalid & s_axi_rready) bytes_read <= bytes_read + DATA_BYTES;
        if (s_axi_wvalid & s_axi_wready) bytes_written <= bytes_written + DATA_BYTES;
    end

endmodule
