"""What surrounds a simulated board: its serial line, and the process it runs in."""
