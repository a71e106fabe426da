"""A clock that a test can set, for one process: libfaketime, without touching timers.

    clock = FakeClock(directory)
    Stack(server_env=clock.env)
    clock.set(hours=25)

Only the wall clock moves. The monotonic clock, on which every timeout and heartbeat runs, stays real.
"""

from pathlib import Path

from .requirements import require_file

_LIBRARY = "libfaketime.so.1"


def _library():
    found = sorted(Path("/usr/lib").glob(f"*/faketime/{_LIBRARY}"))
    return require_file(found[0] if found else Path("/usr/lib/faketime") / _LIBRARY, "the package faketime")


class FakeClock:
    def __init__(self, directory, **offset):
        self._file = Path(directory) / "faketime"
        self.set(**offset)
        self.env = {
            "LD_PRELOAD": str(_library()), "FAKETIME_TIMESTAMP_FILE": str(self._file), "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_RESET": "1", "NO_FAKE_STAT": "1"}

    def set(self, seconds=0, minutes=0, hours=0, days=0):
        """The offset to the real time from now on."""
        total = seconds + 60 * (minutes + 60 * (hours + 24 * days))
        text = f"{total:+d}\n"
        replacement = self._file.with_suffix(".new")
        replacement.write_text(text)
        replacement.replace(self._file)
