"""What all tests share: property tests that do not depend on how fast the machine is.

Linear algebra runs on one thread: the matrices are small, and threads that wait for busy cores cost
more than they bring.
"""

import os

from hypothesis import settings

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

settings.register_profile("phasewatt", deadline=None)
settings.load_profile("phasewatt")
