"""A control plane of canned answers, for tests of clients: whatever is asked and answered is held against openapi.yaml.

    with FakeApi() as api:
        api.on("GET", "/api/hosts", {"items": [api.example("Host")]})
        …run the client against api.base_url…
        assert api.requests[-1].query == {"limit": "200"}
        api.check()

A request that breaks the contract is answered 500 and remembered; check() (and leaving the block) then fails. Answers that break
it fail in the test's own thread, at on(), or are remembered as well when they are made by a function.
"""

import base64
import copy
import functools
import hashlib
import json
import re
import socket
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import yaml
from jsonschema import Draft202012Validator, RefResolver

from .processes import REPOSITORY

REQUEST_ID = "req_0123456789abcdefghjk"
METHODS = ("get", "put", "post", "delete", "patch")


@functools.cache
def load_specification():
    return yaml.load((REPOSITORY / "openapi" / "openapi.yaml").read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))


class Contract:
    """openapi.yaml, asked about single requests and answers."""

    def __init__(self):
        self.spec = load_specification()
        self._resolver = RefResolver.from_schema(self.spec)
        self._paths = [(re.compile("^" + re.sub(r"\{[^}]*\}", "[^/]+", path) + "$"), path) for path in self.spec["paths"]]

    def resolve(self, node):
        while isinstance(node, dict) and set(node) == {"$ref"}:
            node = self._resolver.resolve(node["$ref"])[1]
        return node

    def operation(self, method, path):
        for pattern, name in self._paths:
            item = self.spec["paths"][name]
            if pattern.match(path) and method.lower() in item:
                operation = item[method.lower()]
                return {**operation, "parameters": item.get("parameters", []) + operation.get("parameters", [])}
        return None

    def faults(self, schema, value):
        return [f"{'/'.join(map(str, e.absolute_path))}: {e.message}"
                for e in Draft202012Validator(schema, resolver=self._resolver).iter_errors(value)]

    def request_faults(self, request):
        operation = self.operation(request.method, request.path)
        if operation is None:
            return [f"no operation {request.method} {request.path}"]
        faults = []
        parameters = {(p["in"], p["name"].lower()): p for p in map(self.resolve, operation["parameters"])}
        for name, value in request.query.items():
            parameter = parameters.get(("query", name.lower()))
            if parameter is None:
                faults.append(f"unknown query parameter {name}")
                continue
            schema = self.resolve(parameter["schema"])
            typed = {"integer": lambda v: int(v), "boolean": lambda v: v == "true", "array": lambda v: v.split(",")}
            faults += self.faults(schema, typed.get(schema.get("type"), str)(value))
        for (place, name), parameter in parameters.items():
            given = {"query": request.query, "header": request.headers, "path": None}[place]
            if given is not None and parameter.get("required") and name not in {k.lower() for k in given}:
                faults.append(f"{place} parameter {name} is missing")
            if place == "header" and name in request.headers:
                faults += self.faults(self.resolve(parameter["schema"]), request.headers[name])
        if operation.get("x-gs-role") != "none" and not request.headers.get("authorization", "").startswith("Bearer gsk_"):
            faults.append("no bearer key")
        body = operation.get("requestBody")
        if body is None:
            if request.body:
                faults.append("a body where none belongs")
        elif request.body or body["required"]:
            content_type = request.headers.get("content-type", "")
            if content_type not in body["content"]:
                faults.append(f"content type {content_type!r}")
            elif content_type == "application/json":
                faults += self.faults(body["content"][content_type]["schema"], json.loads(request.body))
        return faults

    def answer_faults(self, method, path, status, value):
        operation = self.operation(method, path)
        responses = operation["responses"]
        response = self.resolve(responses.get(str(status), responses.get("default")))
        content = response.get("content")
        if content is None:
            return [] if value is None else ["a body where none belongs"]
        return self.faults(next(iter(content.values()))["schema"], value)


@dataclass
class Request:
    method: str
    path: str
    query: dict
    headers: dict  # names in lower case
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


@dataclass
class Raw:
    """An answer outside the contract, as a proxy or a broken server gives."""

    status: int
    body: bytes
    content_type: str = "text/html"


class FakeSession:
    """The server's end of one session WebSocket: frames of gstacks.session.v1."""

    def __init__(self, rfile, sock):
        self._rfile, self._socket = rfile, sock
        self.close_code = None

    def receive(self):
        """(type, payload), or None when the client closed or vanished."""
        while True:
            head = self._rfile.read(2)
            if len(head) < 2:
                return None
            opcode, size = head[0] & 0x0F, head[1] & 0x7F
            assert head[1] & 0x80, "a client masks its frames"
            assert head[0] & 0x80, "not fragmented"
            if size == 126:
                size = int.from_bytes(self._rfile.read(2), "big")
            elif size == 127:
                size = int.from_bytes(self._rfile.read(8), "big")
            mask = self._rfile.read(4)
            data = self._rfile.read(size)
            whole = int.from_bytes(data, "big") ^ int.from_bytes((mask * (size // 4 + 1))[:size], "big")
            data = whole.to_bytes(size, "big")
            if opcode == 8:
                self.close_code = int.from_bytes(data[:2], "big")
                return None
            if opcode == 2:
                assert 1 <= len(data) <= 65537, f"a frame of {len(data)} bytes"
                return data[0], data[1:]
            assert opcode in (9, 10), f"unexpected opcode {opcode}"

    def receive_json(self, expected_type):
        frame = self.receive()
        assert frame is not None and frame[0] == expected_type, f"expected frame {expected_type:#x}, got {frame}"
        return json.loads(frame[1])

    def send(self, frame_type, payload=b""):
        if isinstance(payload, (dict, list)):
            payload = json.dumps(payload).encode()
        self._frame(2, bytes([frame_type]) + payload)

    def close(self, code, reason=""):
        self._frame(8, code.to_bytes(2, "big") + reason.encode())

    def drop(self):
        self._socket.shutdown(socket.SHUT_RDWR)

    def _frame(self, opcode, data):
        size = len(data)
        if size < 126:
            head = bytes([0x80 | opcode, size])
        elif size < 65536:
            head = bytes([0x80 | opcode, 126]) + size.to_bytes(2, "big")
        else:
            head = bytes([0x80 | opcode, 127]) + size.to_bytes(8, "big")
        self._socket.sendall(head + data)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that goes away in the middle is what some tests are about."""


class FakeApi:
    def __init__(self):
        self.contract = Contract()
        self.requests = []
        self.faults = []
        self.sessions = []
        self._answers = {}
        self._session_script = None
        self._lock = threading.Lock()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # as the real one; else small frames wait for delayed acknowledgements

            def log_message(self, *_):
                pass

            def do(self):
                fake._serve(self)

            do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = do

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.close()
        if kind is None:
            self.check()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def check(self):
        """Fails when anything that was asked or answered broke the contract."""
        assert not self.faults, "\n".join(self.faults)

    # What it answers

    def on(self, method, path, *answers):
        """Answers in turn; the last one for ever. An answer: JSON (200, or 201/202/204 where that is the operation's), a
        problem from problem(), a Raw, or a function of the Request that returns one of these."""
        for answer in answers:
            if not callable(answer) and not isinstance(answer, Raw):
                status, value = self._with_status(method, path, answer)
                faults = self.contract.answer_faults(method, path, status, value)
                assert not faults, f"{method} {path} cannot be answered so: {faults}"
        self._answers[(method, path)] = list(answers)

    def on_session(self, script):
        """script(FakeSession) runs for every session, after the upgrade."""
        self._session_script = script

    def example(self, schema, number=0, **members):
        """A valid thing: the contract's own example, with members changed (None removes one)."""
        thing = copy.deepcopy(self.contract.spec["components"]["schemas"][schema]["examples"][number])
        thing.update(members)
        return {key: value for key, value in thing.items() if value is not None}

    @staticmethod
    def problem(status, code, detail="It did not work.", **members):
        return {"type": f"https://gstacks.dev/problems/{code}", "title": code.replace("_", " ").capitalize(), "status": status,
                "detail": detail, "instance": "/api", "code": code, "requestId": REQUEST_ID, **members}

    def asked(self, method, path):
        return [r for r in self.requests if (r.method, r.path) == (method, path)]

    # Serving

    def _with_status(self, method, path, answer):
        if isinstance(answer, dict) and answer.get("type", "").startswith("https://gstacks.dev/problems/"):
            return answer["status"], answer
        operation = self.contract.operation(method, path)
        assert operation is not None, f"no operation {method} {path}"
        return int(next(status for status in operation["responses"] if status.startswith("2"))), answer

    def _serve(self, handler):
        url = urlsplit(handler.path)
        query = parse_qsl(url.query, keep_blank_values=True)
        headers = {name.lower(): value for name, value in handler.headers.items()}
        request = Request(handler.command, url.path, dict(query), headers, b"")
        if url.path == "/api/sessions" and headers.get("upgrade") == "websocket" and ("GET", "/api/sessions") not in self._answers:
            return self._serve_session(handler, request)
        request.body = self._read_body(handler, headers)
        with self._lock:
            self.requests.append(request)
            answers = self._answers.get((request.method, request.path))
            answer = None if not answers else answers.pop(0) if len(answers) > 1 else answers[0]
        faults = self.contract.request_faults(request)
        if len(dict(query)) != len(query):
            faults.append("a query parameter twice")
        if answers is None:
            answer = self.problem(404, "not_found", f"Nothing is canned for {request.method} {request.path}.")
        if faults:
            self.faults += [f"{request.method} {handler.path}: {fault}" for fault in faults]
            answer = self.problem(500, "internal", f"Breaks the contract: {faults}")
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, Raw):
            return self._reply(handler, answer.status, answer.content_type, answer.body)
        status, value = self._with_status(request.method, request.path, answer)
        if not faults:
            self.faults += [f"answer to {request.method} {handler.path}: {fault}"
                            for fault in self.contract.answer_faults(request.method, request.path, status, value)]
        kind = "application/problem+json" if status >= 400 else "application/json"
        self._reply(handler, status, kind, b"" if value is None else json.dumps(value).encode())

    @staticmethod
    def _read_body(handler, headers):
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(handler.rfile.readline(), 16):
                body += handler.rfile.read(size)
                handler.rfile.readline()
            handler.rfile.readline()
            return body
        return handler.rfile.read(int(headers.get("content-length", 0)))

    @staticmethod
    def _reply(handler, status, content_type, body):
        handler.send_response(status)
        handler.send_header("X-Request-Id", REQUEST_ID)
        if body:
            handler.send_header("Content-Type", content_type)
        if status != 204:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def _serve_session(self, handler, request):
        with self._lock:
            self.requests.append(request)
        if request.headers.get("sec-websocket-protocol") != "gstacks.session.v1":
            self.faults.append("the session's subprotocol is not offered")
        if not request.headers.get("authorization", "").startswith("Bearer gsk_"):
            self.faults.append("the session has no key")
        key = request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        handler.send_response(101)
        for name, value in (("Upgrade", "websocket"), ("Connection", "Upgrade"), ("X-Request-Id", REQUEST_ID),
                            ("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()),
                            ("Sec-WebSocket-Protocol", "gstacks.session.v1")):
            handler.send_header(name, value)
        handler.end_headers()
        handler.close_connection = True
        session = FakeSession(handler.rfile, handler.connection)
        self.sessions.append(session)
        try:
            self._session_script(session)
        except AssertionError as error:
            self.faults.append(f"session: {error}")
            raise
