"""What a test needs from the machine. Without it the test is skipped, and why is printed; in CI it fails instead.

GS_REQUIRE_ALL=1 (set by tests/run_all.py) says: everything installable was installed, so a missing thing is a failure.
"""

import os
import shutil

import pytest

from .docker_engine import DEFAULT_SOCKET, DockerEngine


def _missing(what, why):
    message = f"needs {what}: {why}"
    if os.environ.get("GS_REQUIRE_ALL") == "1":
        pytest.fail(message)
    print(f"SKIPPED because it {message}")
    pytest.skip(message)


def require_root():
    if os.geteuid() != 0:
        _missing("root", f"this is uid {os.geteuid()}")


def require_docker(socket_path=DEFAULT_SOCKET):
    """Returns the engine at this socket."""
    engine = DockerEngine(socket_path)
    problem = engine.why_not_usable()
    if problem:
        _missing("a Docker engine", problem)
    return engine


def require_tool(name):
    path = shutil.which(name)
    if not path:
        _missing(f"the program {name}", "not in PATH; deploy/install-deps.sh test installs it")
    return path


def require_file(path, what):
    """A file that a package of the test group brings."""
    if not os.path.exists(path):
        _missing(what, f"no {path}; deploy/install-deps.sh test installs it")
    return path
