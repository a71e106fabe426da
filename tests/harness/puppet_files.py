"""A sandbox without a guest, as far as its files go: each operation of files.proto gets an answer that fits it.

    host = PuppetHost(...); host.extra_features = ("files",); host.serve_channel = serve_files
"""

import contextlib
import io
import tarfile

import websocket

from .agent_protocol import messages

VERSION = "1-5-2-3"
CONTENT = b"12345"


def info(name=b"a", kind="REGULAR"):
    m = messages()
    return m.FileInfo(name=name, type=m.FileType.values_by_name[f"FILE_TYPE_{kind}"].number, size_bytes=len(CONTENT), mode=0o644,
                      modified_seconds=1, version=VERSION.encode())


def answers(request):
    """The frames of an operation that goes well."""
    m = messages()
    done = m.FileFrame(done=m.FileDone(entries=1, bytes=len(CONTENT)))
    operation = request.WhichOneof("operation")
    if operation == "list":
        return [m.FileFrame(entry=info()), m.FileFrame(entry=info(b"\xff")), done]
    if operation == "read":
        return [m.FileFrame(info=info()), m.FileFrame(data=CONTENT[request.read.offset:]), done]
    if operation == "read_tree":
        out = io.BytesIO()
        tarfile.open(fileobj=out, mode="w").close()
        return [m.FileFrame(data=out.getvalue()), done]
    if operation in ("stat", "write", "make_directory"):
        return [m.FileFrame(info=info()), done]
    return [done]


def serve_files(channel, session):
    """One data channel to its end, from behind its SessionOpen."""
    m = messages()
    with contextlib.suppress(OSError, websocket.WebSocketException):
        assert session.WhichOneof("kind") == "files", session
        frame = m.FileFrame()
        frame.ParseFromString(channel.receive_bytes())
        request = frame.request
        while request.WhichOneof("operation") in ("write", "write_tree") and not frame.end:
            frame.ParseFromString(channel.receive_bytes())
        for answer in answers(request):
            channel.send_bytes(answer.SerializeToString())
        channel.wait_closed()
