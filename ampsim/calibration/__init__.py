"""Measures this machine as a kind of device, and holds the simulated clock against the wall clock."""
