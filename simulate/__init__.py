"""simulate: see docs."""
