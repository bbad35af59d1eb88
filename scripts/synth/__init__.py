"""What `make lint-synth` is made of: checks of the RTL, areas, budgets."""
