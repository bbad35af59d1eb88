"""Second opinions: the ports of a simulated design, replayed on other simulators and netlists."""
