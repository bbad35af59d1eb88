"""Line and toggle coverage of the emitted Verilog, told in lines and signals of `hw/`."""
