"""policies: see docs."""
