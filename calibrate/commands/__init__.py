"""The commands of ``calibrate``, one module each: thin shells over public functions."""
