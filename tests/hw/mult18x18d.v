// What a MULT18X18D of an ECP5 does, as its family's documentation describes it: a register, or none,
// behind each operand (with its sign flag), inside the multiplier, and behind the product. Written
// for this repository; only what `hw.ecp5.mult18x18d` uses: clock, enable and reset number 0, operands
// from A and B. Registers hold anything at first.

module mult18x18d_register #(
  parameter CLK = "NONE",
  parameter RESETMODE = "SYNC",
  parameter WIDTH = 1
) (
  input clk, input ce, input rst, input [WIDTH-1:0] d, output [WIDTH-1:0] q
);
  generate
    if (CLK == "NONE") begin : through
      assign q = d;
    end else if (CLK == "CLK0" && RESETMODE == "SYNC") begin : registered
      reg [WIDTH-1:0] state;
      always @(posedge clk)
        if (rst) state <= 0;
        else if (ce) state <= d;
      assign q = state;
    end else begin : other
      mult18x18d_has_no_model_of_this_mode fails();
    end
  endgenerate
endmodule

module MULT18X18D #(
  parameter REG_INPUTA_CLK = "NONE", parameter REG_INPUTA_CE = "CE0",
  parameter REG_INPUTA_RST = "RST0",
  parameter REG_INPUTB_CLK = "NONE", parameter REG_INPUTB_CE = "CE0",
  parameter REG_INPUTB_RST = "RST0",
  parameter REG_PIPELINE_CLK = "NONE", parameter REG_PIPELINE_CE = "CE0",
  parameter REG_PIPELINE_RST = "RST0",
  parameter REG_OUTPUT_CLK = "NONE", parameter REG_OUTPUT_CE = "CE0",
  parameter REG_OUTPUT_RST = "RST0",
  parameter CLK0_DIV = "ENABLED", parameter CLK1_DIV = "ENABLED",
  parameter CLK2_DIV = "ENABLED", parameter CLK3_DIV = "ENABLED",
  parameter GSR = "DISABLED", parameter SOURCEB_MODE = "B_SHIFT",
  parameter RESETMODE = "SYNC", parameter MULT_BYPASS = "DISABLED"
) (
  input CLK0, input CE0, input RST0,
  input SIGNEDA, input SIGNEDB, input SOURCEA, input SOURCEB,
  input A0, A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12, A13, A14, A15, A16, A17,
  input B0, B1, B2, B3, B4, B5, B6, B7, B8, B9, B10, B11, B12, B13, B14, B15, B16, B17,
  output P0, P1, P2, P3, P4, P5, P6, P7, P8, P9, P10, P11, P12, P13, P14, P15, P16, P17,
  output P18, P19, P20, P21, P22, P23, P24, P25, P26, P27, P28, P29, P30, P31, P32, P33, P34, P35
);
  generate
    if (GSR != "DISABLED" || SOURCEB_MODE != "B_SHIFT" || MULT_BYPASS != "DISABLED"
        || REG_INPUTA_CE != "CE0" || REG_INPUTB_CE != "CE0" || REG_PIPELINE_CE != "CE0"
        || REG_OUTPUT_CE != "CE0" || REG_INPUTA_RST != "RST0" || REG_INPUTB_RST != "RST0"
        || REG_PIPELINE_RST != "RST0" || REG_OUTPUT_RST != "RST0") begin : other
      mult18x18d_has_no_model_of_this_mode fails();
    end
  endgenerate

  // With a source set, the operand would come from the neighbour.
  wire [17:0] a = SOURCEA ? 18'bx :
    {A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0};
  wire [17:0] b = SOURCEB ? 18'bx :
    {B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0};
  wire [18:0] held_a, held_b;
  mult18x18d_register #(REG_INPUTA_CLK, RESETMODE, 19) at_a(CLK0, CE0, RST0, {SIGNEDA, a}, held_a);
  mult18x18d_register #(REG_INPUTB_CLK, RESETMODE, 19) at_b(CLK0, CE0, RST0, {SIGNEDB, b}, held_b);

  // The sign flag and the sign bit make the nineteenth bit of an operand.
  wire signed [18:0] left = {held_a[18] & held_a[17], held_a[17:0]};
  wire signed [18:0] right = {held_b[18] & held_b[17], held_b[17:0]};
  wire signed [37:0] product = left * right;
  wire [35:0] inner, p;
  mult18x18d_register #(REG_PIPELINE_CLK, RESETMODE, 36) at_inner(CLK0, CE0, RST0, product[35:0], inner);
  mult18x18d_register #(REG_OUTPUT_CLK, RESETMODE, 36) at_p(CLK0, CE0, RST0, inner, p);
  assign {P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18,
    P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0} = p;
endmodule
