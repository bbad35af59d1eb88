// A DCCA of an ECP5, as far as this repository uses it: written from the names and meaning of its
// ports in Lattice's documents, and trusted by `tests/hw/test_global_buffer.py`. The cell takes its
// enable over while its input is low, so that no pulse is cut; here the enable never changes.
module DCCA(input CLKI, input CE, output CLKO);
  assign CLKO = CLKI & CE;
endmodule
