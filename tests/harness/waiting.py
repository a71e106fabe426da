"""Waiting for a condition with a deadline: the only way tests wait, so that none of them sleeps for luck."""

import threading
import time

_never_set = threading.Event()


def wait_until(condition, timeout=10.0, what="the condition", interval=0.02):
    """Calls condition until it returns something true, and returns that.

    An exception of the condition counts as "not yet"; after the timeout an AssertionError tells the last exception or value.
    """
    deadline = time.monotonic() + timeout
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = f"last value: {value!r}"
        except Exception as error:  # not yet: the server may still be starting
            last = f"last error: {error!r}"
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise AssertionError(f"{what} did not come true within {timeout} s; {last}")
        _never_set.wait(min(interval, remaining))
        interval = min(interval * 1.3, 0.25)


def hold(seconds):
    """For tests that must show that nothing happens: waits the whole time. Say in the test why a time is the only proof."""
    _never_set.wait(seconds)


def assert_stays(condition, seconds, what="the condition"):
    """Fails as soon as condition is false within the given time; returns the last value."""
    deadline = time.monotonic() + seconds
    value = None
    while time.monotonic() < deadline:
        value = condition()
        if not value:
            raise AssertionError(f"{what} did not stay true; value: {value!r}")
        _never_set.wait(0.05)
    return value
