"""traces: see docs."""
