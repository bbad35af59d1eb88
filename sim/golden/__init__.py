"""The golden model: integers only, one file per unit of the hardware."""
