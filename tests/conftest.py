"""What holds for all tests."""

from hypothesis import settings

# A deadline is an assertion about time, which says more of the machine's load than of the code.
settings.register_profile("ra_guard", deadline=None)
settings.load_profile("ra_guard")
