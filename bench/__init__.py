"""Measures what the gate costs, as ratios to an endpoint without a gate, on the same machine in the same run."""
