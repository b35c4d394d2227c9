"""What every part of phasewatt shares: its version, its user errors, whole files, the console.

Nothing here knows about GPUs, traces or the simulator.
"""

from importlib.metadata import version

__version__ = version("phasewatt")
