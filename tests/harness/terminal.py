"""gstacks on a terminal of its own, as a person has it."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time

from harness.processes import find_binary


class Terminal:
    """Starts gstacks with these words; what it shows is collected in `shown`."""

    def __init__(self, *args, env=None, rows=40, columns=200):
        self.fd, inner = pty.openpty()
        # Kept open, so that what was shown last can still be read and the settings be looked at.
        self._inner = inner
        self._set_size(rows, columns)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GSTACKS_") and k != "NO_COLOR"}
        # A session of its own, and the terminal as its controlling one: resizes and interrupts reach it as they do a person's.
        self.process = subprocess.Popen([find_binary("gstacks"), *map(str, args)], stdin=inner, stdout=inner, stderr=inner,
                                        env={**environment, "TERM": "xterm", "HOME": "/nonexistent", **(env or {})},
                                        start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        self.shown = ""
        self._seen = 0

    def _set_size(self, rows, columns):
        fcntl.ioctl(self._inner, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, rows, columns):
        """As a person drags the window; the kernel tells the program."""
        self._set_size(rows, columns)

    def write(self, text):
        os.write(self.fd, text.encode())

    def _pump(self, seconds):
        if select.select([self.fd], [], [], seconds)[0]:
            self.shown += os.read(self.fd, 65536).decode(errors="replace")
            return True
        return False

    def read_until(self, needle, timeout=20, fresh=False):
        """Until it is shown; with `fresh`, shown since the last call."""
        deadline = time.monotonic() + timeout
        start = self._seen if fresh else 0
        while (at := self.shown.find(needle, start)) < 0:
            assert time.monotonic() < deadline, f"no {needle!r} in {self.shown[start:]!r}"
            self._pump(0.1)
        self._seen = max(self._seen, at + len(needle))

    def is_cooked(self):
        """Whether the terminal is as a shell leaves it: echo, lines, signals."""
        flags = termios.tcgetattr(self.fd)[3]
        wanted = termios.ECHO | termios.ICANON | termios.ISIG
        return flags & wanted == wanted

    def wait(self, timeout=60):
        deadline = time.monotonic() + timeout
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"does not end: {self.shown!r}"
            self._pump(0.05)
        while self._pump(0):
            pass
        return self.process.returncode

    def finish(self):
        assert self.wait() == 0, self.shown
        return self.shown

    def end(self):
        """Whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.fd)
        os.close(self._inner)
