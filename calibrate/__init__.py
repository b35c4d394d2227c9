"""calibrate: see docs."""
