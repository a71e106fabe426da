"""A container engine without containers: the calls that the agent makes, answered at once, with a real guest behind each.

    engine = FakeEngine(path, guest_binary)

For measuring the agent with more sandboxes than a machine has room for. What it starts is gstacks-guest as a plain process,
dialling the socket that a container would have mounted: the agent cannot tell. Nothing runs in it, so no workloads, no execs.
"""

import http.server
import io
import json
import os
import re
import signal
import socketserver
import subprocess
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlparse

from .processes import _die_with_parent

_INFO = {"ServerVersion": "20.10.24", "LiveRestoreEnabled": True, "MemoryLimit": True, "CpuCfsQuota": True, "PidsLimit": True,
         "DockerRootDir": "/var/lib/docker", "SecurityOptions": ["name=seccomp,profile=default"], "DriverStatus": []}
_NEVER = "0001-01-01T00:00:00Z"


class FakeEngine:
    def __init__(self, socket_path, guest_binary):
        self.socket_path = str(socket_path)
        self.containers = {}
        self.images = {}
        self._guest = str(guest_binary)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        # The parent that a guest dies with is a thread: it must be one that lives as long as the engine.
        self._spawner = ThreadPoolExecutor(1)
        handler = type("Handler", (_Handler,), {"engine": self})
        self._server = type("Server", (socketserver.ThreadingMixIn, socketserver.UnixStreamServer),
                            {"daemon_threads": True, "request_queue_size": 512})(self.socket_path, handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        for container in list(self.containers.values()):
            self._end(container)
        self._spawner.shutdown()
        Path(self.socket_path).unlink(missing_ok=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # What the engine does. Each returns (status, body).

    def call(self, method, path, query, body):
        for pattern, name in _ROUTES:
            found = re.fullmatch(pattern, f"{method} {path}")
            if found:
                return getattr(self, name)(*(unquote(part) for part in found.groups()), **({"query": query, "body": body} if name in _WHOLE else {}))
        return 404, {"message": f"this engine does not know {method} {path}"}

    def info(self):
        return 200, _INFO

    def load(self, query, body):
        with tarfile.open(fileobj=io.BytesIO(body)) as tar:
            for image in json.load(tar.extractfile("manifest.json")):
                digest = "sha256:" + re.search(r"[0-9a-f]{64}", image["Config"]).group()
                self.images.update({tag: digest for tag in image["RepoTags"] or []})
        return 200, {"stream": "loaded"}

    def image(self, reference):
        return (200, {"Id": self.images[reference]}) if reference in self.images else (404, {"message": f"No such image: {reference}"})

    def list_images(self):
        return 200, [{"RepoTags": [tag]} for tag in self.images]

    def create(self, query, body):
        config, name = json.loads(body), query["name"][0]
        folder = next(mount["Source"] for mount in config["HostConfig"]["Mounts"] if mount["Target"].endswith("/run"))
        with self._lock:
            if name in self.containers:
                return 409, {"message": f'Conflict. The container name "/{name}" is already in use by container "x".'}
            self.containers[name] = {"Id": os.urandom(32).hex(), "name": name, "labels": config["Labels"], "folder": folder,
                                     "status": "created", "process": None, "startedAt": _NEVER, "created": int(time.time())}
        return 201, {"Id": self.containers[name]["Id"], "Warnings": []}

    def start(self, key):
        container = self._find(key)
        if container is None:
            return self._missing(key)
        if container["process"] is None:
            container["process"] = self._spawner.submit(self._spawn, f"{container['folder']}/agent.sock").result()
            container["startedAt"] = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
            container["status"] = "running"
        return 204, None

    def kill(self, key):
        container = self._find(key)
        if container is None:
            return self._missing(key)
        self._end(container)
        container["status"] = "exited"
        return 204, None

    def wait(self, key):
        return (200, {"StatusCode": 137}) if self._find(key) else self._missing(key)

    def remove(self, key):
        container = self._find(key)
        if container is None:
            return self._missing(key)
        self._end(container)
        del self.containers[container["name"]]
        return 204, None

    def inspect(self, key):
        container = self._find(key)
        if container is None:
            return self._missing(key)
        process = container["process"]
        return 200, {"Id": container["Id"], "Name": f"/{container['name']}", "Config": {"Labels": container["labels"]},
                     "State": {"Status": container["status"], "Pid": process.pid if process else 0, "ExitCode": 137 if container["status"] == "exited" else 0,
                               "OOMKilled": False, "StartedAt": container["startedAt"], "FinishedAt": _NEVER}}

    def list(self):
        return 200, [{"Id": c["Id"], "Names": [f"/{c['name']}"], "State": c["status"], "Labels": c["labels"], "Created": c["created"], "Mounts": []}
                     for c in list(self.containers.values())]

    def _find(self, key):
        return self.containers.get(key) or next((c for c in list(self.containers.values()) if c["Id"] == key), None)

    def _missing(self, key):
        return 404, {"message": f"No such container: {key}"}

    def _spawn(self, agent_socket):
        return subprocess.Popen([self._guest, agent_socket], preexec_fn=_die_with_parent,
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    @staticmethod
    def _end(container):
        process, container["process"] = container["process"], None
        if process:
            process.send_signal(signal.SIGKILL)
            process.wait()


_WHOLE = {"load", "create"}
_ROUTES = [(r"GET /v1\.41" + path if verb == "GET" else rf"{verb} /v1\.41" + path, name) for verb, path, name in (
    ("GET", "/info", "info"), ("POST", "/images/load", "load"), ("GET", "/images/json", "list_images"), ("GET", "/images/(.+)/json", "image"),
    ("POST", "/containers/create", "create"), ("GET", "/containers/json", "list"), ("GET", "/containers/([^/]+)/json", "inspect"),
    ("POST", "/containers/([^/]+)/start", "start"), ("POST", "/containers/([^/]+)/kill", "kill"), ("POST", "/containers/([^/]+)/wait", "wait"),
    ("DELETE", "/containers/([^/]+)", "remove"))]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    engine = None

    def address_string(self):
        return "agent"

    def log_message(self, *_):
        pass

    def _serve(self):
        target = urlparse(self.path)
        body = self._body()
        if target.path.endswith("/events"):
            return self._events()
        status, answer = self.engine.call(self.command, target.path, parse_qs(target.query), body)
        data = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_DELETE = _serve  # noqa: N815

    def _body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def _events(self):
        """None ever happens by itself."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.engine._stopping.wait()
        self.close_connection = True
