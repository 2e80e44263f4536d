"""What holds for all tests."""

from hypothesis import settings

# Where CI is set, Hypothesis draws the same examples every time, so that a change is not blamed for what it did not do. `make properties`
# draws new ones; of an example that fails it prints a line that repeats it, and the directory .hypothesis keeps it.
settings.register_profile("new", settings.get_profile("default"), derandomize=False, deadline=None, print_blob=True)
