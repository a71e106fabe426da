"""A TCP proxy that cuts connections after a number of bytes, whichever way they go: in the middle of a frame as well."""

import contextlib
import socket
import threading


class CuttingProxy:
    """`next_cut()` gives, for each connection, after how many bytes it is cut; None: never."""

    def __init__(self, port, next_cut):
        self._target, self._next_cut = port, next_cut
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.cuts = 0
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError):
                server = socket.create_connection(("127.0.0.1", self._target))
                pair = [client, server, self._next_cut()]
                for source, target in ((client, server), (server, client)):
                    source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    threading.Thread(target=self._pump, args=(source, target, pair), daemon=True).start()
                continue
            client.close()  # the server is away

    def _pump(self, source, target, pair):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                with self._lock:
                    left = pair[2]
                    if left is not None:
                        data = data[:left]
                        pair[2] = left - len(data)
                    over = pair[2] == 0
                if data:
                    target.sendall(data)
                if over:
                    with self._lock:
                        self.cuts += pair[2] == 0
                        pair[2] = -1
                    break
        for end in pair[:2]:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            # Closed as well: a peer that still sends has to hear that nobody reads.
            end.close()

    def close(self):
        self._listener.close()
