"""A unix socket in front of a Docker engine that writes down what the agent asks of it, and can make single requests hang.

It proves what cannot be seen from outside: that no image is ever pulled, that dockerd's own exec and archive endpoints are
never used, how often something is asked.
"""

import re
import socket
import threading
from pathlib import Path

_REQUEST = re.compile(rb"(GET|HEAD|POST|PUT|DELETE) (/[^ \r\n]*) HTTP/1\.1\r\n")
_PIECE = 65536


class DockerProxy:
    def __init__(self, socket_path, engine_socket):
        self.socket_path = str(socket_path)
        self._engine_socket = str(engine_socket)
        self._lock = threading.Lock()
        self._requests = []
        self._hanging = None
        self._connections = set()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.socket_path)
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def requests(self):
        """["POST /v1.41/containers/create?name=x", …] so far."""
        with self._lock:
            return list(self._requests)

    def matching(self, pattern):
        return [request for request in self.requests if re.search(pattern, request)]

    def hang(self, pattern):
        """From now on requests that match are swallowed: the engine never sees them, the agent never gets an answer."""
        self._hanging = re.compile(pattern)

    def release(self):
        """Ends the hanging; connections that hang are dropped, as an engine that was restarted drops them."""
        self._hanging = None
        with self._lock:
            stuck = [pair for pair in self._connections if pair[2]]
        for client, engine, _ in stuck:
            _shut(client)
            _shut(engine)

    def close(self):
        _shut(self._listener)
        self._listener.close()
        with self._lock:
            connections = list(self._connections)
        for client, engine, _ in connections:
            _shut(client)
            _shut(engine)
        Path(self.socket_path).unlink(missing_ok=True)

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        engine = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            engine.connect(self._engine_socket)
        except OSError:
            client.close()
            return
        key = (client, engine, False)
        with self._lock:
            self._connections.add(key)
        threading.Thread(target=_pump, args=(engine, client), daemon=True).start()
        tail = b""
        try:
            while data := client.recv(_PIECE):
                # A request line may lie across two pieces; bodies are small JSON or tar, which do not look like one.
                window = tail + data
                asked = [f"{m.group(1).decode()} {m.group(2).decode()}" for m in _REQUEST.finditer(window)]
                tail = b"" if asked else window[-512:]
                with self._lock:
                    self._requests += asked
                if self._hanging and any(self._hanging.search(request) for request in asked):
                    with self._lock:
                        self._connections.discard(key)
                        key = (client, engine, True)
                        self._connections.add(key)
                    while client.recv(_PIECE):
                        pass
                    return
                engine.sendall(data)
        except OSError:
            pass
        finally:
            _shut(engine)
            _shut(client)
            with self._lock:
                self._connections.discard(key)
            client.close()


def _pump(source, target):
    try:
        while data := source.recv(_PIECE):
            target.sendall(data)
    except OSError:
        pass
    _shut(target)
    source.close()


def _shut(sock):
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
