"""What an engine step costs: time and power against clock and work, with intervals.

In: measured points or a calibration. Out: curves, GPUs and calibrations; pure functions on arrays.
"""
