"""What the tests of pages share: one real browser, or one clear line that says what is missing."""

from collections.abc import Iterator

import pytest
from pages.browser import Browser, programs


def pytest_configure() -> None:
    """Stop at once where there is no browser: a page that nobody has looked at passes no test."""
    try:
        programs()
    except FileNotFoundError as error:
        raise pytest.UsageError(str(error)) from None


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests; each opens its pages from nothing."""
    started = Browser()
    yield started
    started.close()
