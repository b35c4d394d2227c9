"""What all tests share: property tests that do not depend on how fast the machine is."""

from hypothesis import settings

settings.register_profile("phasewatt", deadline=None)
settings.load_profile("phasewatt")
