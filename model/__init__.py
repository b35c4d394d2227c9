"""model: see docs."""
