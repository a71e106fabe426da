"""Real processes under test: started with a log file, killed or stopped by their own id, never by name."""

import ctypes
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path

from .waiting import wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_handed_out_ports = set()
_port_lock = threading.Lock()


def build_dir():
    return Path(os.environ.get("GS_BUILD_DIR") or REPOSITORY / "build" / "release").resolve()


def find_binary(name):
    """A program of the build under test: in GS_BIN_DIR, else in bin/ of GS_BUILD_DIR (build/release)."""
    places = [Path(os.environ["GS_BIN_DIR"])] if os.environ.get("GS_BIN_DIR") else [build_dir() / "bin", build_dir()]
    for place in places:
        for candidate in (place / name, place / "bin" / name):
            if candidate.is_file() and os.access(candidate, os.X_OK):
                return candidate.resolve()
    raise AssertionError(f"no {name} in {', '.join(map(str, places))}: run `make build`, or set GS_BIN_DIR")


def free_port():
    """A port that was free a moment ago, never the same twice in one run."""
    with _port_lock:
        while True:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            if port not in _handed_out_ports:
                _handed_out_ports.add(port)
                return port


def _die_with_parent():
    # A test run that is killed must not leave servers behind.
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def run_tool(argv, timeout=60, check=True, env=None, stdin=None):
    """Runs a command to its end and returns CompletedProcess with text output; a failure shows the output."""
    done = subprocess.run(
        [str(part) for part in argv], input=stdin, capture_output=True, text=True, timeout=timeout,
        env={**os.environ, **(env or {})}, errors="replace",
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{argv[0]} exited with {done.returncode}\nargv: {argv}\n{done.stdout}{done.stderr}")
    return done


class ManagedProcess:
    """One process. start() after kill() or stop() starts it again; the log file is appended to.

    Start it from the test's main thread: the kernel ties "dies with its parent" to the thread that started it.
    """

    def __init__(self, name, argv, log_path, env=None):
        self.name = name
        self.argv = [str(part) for part in argv]
        self.env = dict(env or {})
        self.log_path = Path(log_path)
        self._process = None

    def start(self, extra_env=None):
        assert not self.alive, f"{self.name} is running already"
        with open(self.log_path, "ab") as log:
            self._process = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                preexec_fn=_die_with_parent, env={**os.environ, **self.env, **(extra_env or {})})
        return self

    @property
    def pid(self):
        return self._process.pid if self._process else None

    @property
    def alive(self):
        return self._process is not None and self._process.poll() is None

    @property
    def returncode(self):
        return self._process.poll() if self._process else None

    def send(self, signal_number):
        if self.alive:
            self._process.send_signal(signal_number)

    def stop(self, timeout=10):
        """Asks it to end; returns the exit code. One that does not end in time is killed, and that is an error."""
        if not self.alive:
            return self.returncode
        self.send(signal.SIGTERM)
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not stop within {timeout} s of SIGTERM\n{self.log_tail()}")

    def kill(self):
        """SIGKILL, as a crash would; returns when it is gone."""
        if self._process is not None:
            if self.alive:
                self._process.kill()
            self._process.wait(10)

    def wait_exit(self, timeout=30):
        """For processes that end by themselves (crash points); returns the exit code, -9 for SIGKILL."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not exit within {timeout} s\n{self.log_tail()}")

    def pause(self):
        """SIGSTOP: alive but silent, as a hung machine is."""
        self.send(signal.SIGSTOP)

    def resume(self):
        self.send(signal.SIGCONT)

    def rss_bytes(self):
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"{self.name} has no VmRSS: is it alive?")

    def open_files(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def log_text(self, offset=0):
        if not self.log_path.exists():
            return ""
        with open(self.log_path, "rb") as log:
            log.seek(offset)
            return log.read().decode(errors="replace")

    def log_size(self):
        return self.log_path.stat().st_size if self.log_path.exists() else 0

    def log_tail(self, lines=60):
        text = "\n".join(self.log_text().splitlines()[-lines:])
        return f"--- {self.name} ({self.log_path}), last lines:\n{text}"

    def wait_for_log(self, needle, timeout=10, offset=0):
        return wait_until(lambda: needle in self.log_text(offset), timeout, f"{self.name} logging {needle!r}")
