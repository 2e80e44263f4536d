"""What holds for every test: a stack contains what fails for one endpoint, so a test has to look whether something did."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import settings

# Where CI is set, Hypothesis draws the same examples every time, so that a change is not blamed for what it did not do. `make properties`
# draws new ones; of an example that fails it prints a line that repeats it, and the directory .hypothesis keeps it.
settings.register_profile("new", settings.get_profile("default"), derandomize=False, deadline=None, print_blob=True)


class _Kept(logging.Handler):
    """Failures that were logged."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self.errors.append(record.exc_info[1])


@pytest.fixture(autouse=True)
def _no_endpoint_fails(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test in which code of an endpoint raises has failed, unless it is marked as one that wants that."""
    if request.node.get_closest_marker("endpoint_fails"):
        yield
        return
    kept = _Kept()
    logger = logging.getLogger("fastnet")
    logger.addHandler(kept)
    try:
        yield
    finally:
        logger.removeHandler(kept)
    if kept.errors:
        raise kept.errors[0]
