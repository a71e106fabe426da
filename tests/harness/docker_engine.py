"""The Docker engine as tests see it: a small client over its unix socket, and private engines that tests may stop.

The shared engine at /var/run/docker.sock belongs to the machine: tests never stop or prune it, and remove only what carries
the labels or names that they chose.
"""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import urllib.parse
from pathlib import Path

from .processes import ManagedProcess
from .waiting import wait_until

DEFAULT_SOCKET = "/var/run/docker.sock"


class DockerError(Exception):
    def __init__(self, status, message):
        super().__init__(f"docker engine answered {status}: {message}")
        self.status = status


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("docker", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class DockerEngine:
    """Engine API client. One connection a request: engines come and go in these tests."""

    def __init__(self, socket_path=DEFAULT_SOCKET):
        self.socket_path = str(socket_path)

    def request(self, method, path, body=None, timeout=60, expect=(200, 201, 204, 304), raw=None):
        connection = _UnixConnection(self.socket_path, timeout)
        try:
            headers, payload = {}, raw
            if raw is not None:
                headers["Content-Type"] = "application/x-tar"
            elif body is not None:
                payload = json.dumps(body).encode()
                headers["Content-Type"] = "application/json"
            connection.request(method, path, payload, headers)
            response = connection.getresponse()
            data = response.read()
            if response.status not in expect:
                raise DockerError(response.status, data.decode(errors="replace").strip())
            if "json" in (response.headers.get("Content-Type") or "") and data:
                try:
                    return json.loads(data)
                except ValueError:
                    pass  # a stream of JSON lines
            return data
        finally:
            connection.close()

    def why_not_usable(self):
        """None when the engine answers; else a sentence."""
        try:
            self.request("GET", "/_ping", timeout=5)
            return None
        except (OSError, DockerError, http.client.HTTPException) as error:
            return f"{self.socket_path}: {error}"

    def version(self):
        return self.request("GET", "/version")

    # Containers

    def containers(self, **labels):
        """All containers, running or not, that carry these labels ('_' in a key stands for '.')."""
        filters = {"label": [f"{key.replace('_', '.')}={value}" for key, value in labels.items()]}
        query = urllib.parse.urlencode({"all": "1", "filters": json.dumps(filters)})
        return self.request("GET", f"/containers/json?{query}")

    def inspect(self, container):
        return self.request("GET", f"/containers/{container}/json")

    def find(self, container):
        """Like inspect; None when there is no such container."""
        try:
            return self.inspect(container)
        except DockerError as error:
            if error.status == 404:
                return None
            raise

    def remove(self, container):
        """Removes it whatever it does; unknown ids are fine."""
        self.request("DELETE", f"/containers/{container}?force=1&v=1", expect=(204, 404, 409), timeout=120)

    def stop(self, container, seconds=1):
        self.request("POST", f"/containers/{container}/stop?t={seconds}", timeout=seconds + 60)

    def kill(self, container, signal_name="KILL"):
        self.request("POST", f"/containers/{container}/kill?signal={signal_name}")

    def create(self, name, config):
        return self.request("POST", f"/containers/create?name={name}", config)["Id"]

    def start(self, container):
        self.request("POST", f"/containers/{container}/start")

    # Images

    def images(self, reference=None):
        filters = {"reference": [reference]} if reference else {}
        return self.request("GET", "/images/json?" + urllib.parse.urlencode({"filters": json.dumps(filters)}))

    def images_with_label(self, label):
        filters = urllib.parse.quote(json.dumps({"label": [label]}))
        return self.request("GET", f"/images/json?filters={filters}")

    def find_image(self, reference):
        try:
            return self.request("GET", f"/images/{urllib.parse.quote(reference, safe='')}/json")
        except DockerError as error:
            if error.status == 404:
                return None
            raise

    def load_image(self, archive):
        with open(archive, "rb") as data:
            return self.request("POST", "/images/load?quiet=1", raw=data, timeout=300)

    def remove_image(self, reference):
        """Unknown is fine, in use by a container is not forced: returns whether it is gone."""
        quoted = urllib.parse.quote(reference, safe="")
        try:
            self.request("DELETE", f"/images/{quoted}", expect=(200, 404), timeout=120)
            return True
        except DockerError as error:
            if error.status == 409:
                return False
            raise


class PrivateDockerd:
    """An engine of the test's own: stop(), start(), kill() and pause() as the test likes. No bridge, no packet filter.

    Its containers survive stop() and kill() only with live_restore=True. cleanup() removes every trace.
    """

    def __init__(self, directory=None, live_restore=False, extra=()):
        # Unix socket paths are limited to 107 bytes, and pytest's own directories are long.
        self.directory = Path(directory or tempfile.mkdtemp(prefix="gsd-", dir="/tmp"))
        self.socket_path = str(self.directory / "d.sock")
        self.engine = DockerEngine(self.socket_path)
        # Its own containerd namespaces: where a system containerd is used, engines must not see one another's containers.
        # Not of the folder's name, which may have an underscore where none may be.
        namespace = f"gs-{os.urandom(6).hex()}"
        argv = [
            "dockerd", "--host", f"unix://{self.socket_path}", "--data-root", self.directory / "data",
            "--exec-root", self.directory / "exec", "--pidfile", self.directory / "pid", "--config-file", self.directory / "config.json",
            "--bridge=none", "--iptables=false", "--ip-forward=false",
            "--containerd-namespace", namespace, "--containerd-plugins-namespace", f"{namespace}-plugins", *extra]
        if live_restore:
            argv.append("--live-restore")
        (self.directory / "config.json").write_text("{}")
        self.process = ManagedProcess("dockerd", argv, self.directory / "dockerd.log")

    def start(self, timeout=60):
        self.process.start()

        def answers():
            if not self.process.alive:
                raise RuntimeError(f"dockerd exited with {self.process.returncode}")
            return self.engine.why_not_usable() is None

        try:
            wait_until(answers, timeout, "the private dockerd answering")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.process.log_tail(30)}") from None
        return self

    def stop(self, timeout=60):
        return self.process.stop(timeout)

    def kill(self):
        """SIGKILL. Its containerd dies with it, but a moment later: an engine that starts in between waits for it in vain."""
        self.process.kill()
        wait_until(lambda: not self._left_containerd(), 15, "the private containerd ending")
        self._containerd_pid_file().unlink(missing_ok=True)

    def pause(self):
        """Accepts connections and answers nothing: a hung engine."""
        self.process.pause()

    def resume(self):
        self.process.resume()

    def cleanup(self):
        """Safe to repeat."""
        if not self.directory.exists():
            return
        try:
            self.process.resume()
            if not self.process.alive and self._running_shims():
                self.start()  # killed with containers running: only an engine takes them down in order
            if self.process.alive:
                for container in self.engine.containers():
                    self.engine.remove(container["Id"])
                self.stop()
        finally:
            self.process.kill()
            self._kill_left_containerd()
            for shim in self._running_shims():
                os.kill(shim, signal.SIGKILL)
            _unmount_below(self.directory)
            shutil.rmtree(self.directory, ignore_errors=True)

    def _containerd_pid_file(self):
        return self.directory / "exec" / "containerd" / "containerd.pid"

    def _left_containerd(self):
        """The containerd that a killed dockerd leaves behind, by its own pid file and only if it is really ours."""
        try:
            pid = int(self._containerd_pid_file().read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
            return pid if str(self.directory) in command else None
        except (OSError, ValueError):
            return None

    def _running_shims(self):
        """Processes that keep this engine's containers running while it is away."""
        found = []
        for directory in Path("/proc").iterdir():
            if directory.name.isdigit():
                try:
                    command = (directory / "cmdline").read_bytes().decode(errors="replace")
                except OSError:
                    continue
                if "containerd-shim" in command and str(self.directory) in command:
                    found.append(int(directory.name))
        return found

    def _kill_left_containerd(self):
        pid = self._left_containerd()
        if pid:
            os.kill(pid, signal.SIGTERM)
            wait_until(lambda: not self._left_containerd(), 15, "the private containerd ending")


def _unmount_below(directory):
    with open("/proc/mounts") as mounts:
        points = [line.split()[1] for line in mounts]
    for point in sorted((p for p in points if p.startswith(f"{directory}/")), reverse=True):
        subprocess.run(["umount", "-l", point], check=False, capture_output=True)


_shared_lock = threading.Lock()
_shared_started = None


def ensure_shared_dockerd(log_directory="/tmp"):
    """Returns (socket path, stop function). Starts an engine on the default socket only if none answers there.

    The stop function stops what this call started and does nothing otherwise.
    """
    global _shared_started
    with _shared_lock:
        engine = DockerEngine()
        if engine.why_not_usable() is None:
            return engine.socket_path, lambda: None
        if os.geteuid() != 0:
            raise RuntimeError(f"no Docker engine answers at {DEFAULT_SOCKET}, and only root can start one")
        if os.path.isdir("/run/systemd/system"):
            subprocess.run(["systemctl", "start", "docker"], check=True)
            wait_until(lambda: engine.why_not_usable() is None, 60, "the Docker service answering")
            return engine.socket_path, lambda: subprocess.run(["systemctl", "stop", "docker.service", "docker.socket"], check=False)
        if not shutil.which("dockerd"):
            raise RuntimeError("no dockerd: deploy/install-deps.sh demo installs docker.io")
        log = Path(log_directory) / f"gs-dockerd-{os.getpid()}.log"
        process = ManagedProcess("dockerd", ["dockerd", "--bridge=none", "--iptables=false"], log).start()
        try:
            wait_until(lambda: engine.why_not_usable() is None, 60, f"dockerd answering (its log: {log})")
        except AssertionError:
            process.kill()
            raise RuntimeError(f"dockerd does not start:\n{process.log_tail(20)}") from None
        _shared_started = process
        return engine.socket_path, process.stop
