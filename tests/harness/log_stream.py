"""A client of GET /api/sandboxes/{id}/logs that holds every piece against the contract.

    with LogStream(api, sandbox, follow=True) as stream:
        stream.read_until(b"ready")  # everything up to there, as bytes of both streams in order
"""

import base64
import json

import requests

from .contract import Contract
from .server_sent_events import events_of


class LogStream:
    def __init__(self, api, sandbox, last_event_id=None, timeout=30, **params):
        self.contract = getattr(api, "contract", None) or Contract()
        headers = {"Authorization": f"Bearer {api.api_key}"}
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        params = {name: str(value).lower() if isinstance(value, bool) else value for name, value in params.items()}
        self.response = requests.get(f"{api.base_url}/api/sandboxes/{sandbox['id']}/logs", headers=headers, params=params, stream=True, timeout=timeout)
        self.status = self.response.status_code
        self.position = last_event_id
        self.lost = 0
        self.ended = False
        self._lines = self.response.iter_lines(chunk_size=None) if self.status == 200 else iter(())
        if self.status == 200:
            assert self.response.headers["Content-Type"] == "text/event-stream"
            if hasattr(api, "seen"):
                api.seen.add(("streamSandboxLogs", 200))

    def pieces(self):
        """(data of the event with "raw" bytes) until the stream ends; `ended` tells whether that was said."""
        for event in events_of(self._lines):
            if event.get("event") == "end":
                self.ended = True
                return
            if event.get("event") != "output":
                continue
            data = json.loads(event["data"])
            faults = self.contract.errors({"$ref": "#/components/schemas/LogOutput"}, data)
            assert not faults and ("text" in data) != ("bytes" in data), (faults, data)
            self.position = event["id"]
            self.lost += data.get("lostBytes", 0)
            data["raw"] = data["text"].encode() if "text" in data else base64.b64decode(data["bytes"])
            yield data

    def read(self, stream=None):
        """All that there is, of one stream or of both."""
        return b"".join(piece["raw"] for piece in self.pieces() if stream in (None, piece["stream"]))

    def read_until(self, wanted):
        out = b""
        for piece in self.pieces():
            out += piece["raw"]
            if wanted in out:
                return out
        raise AssertionError(f"the log ended without {wanted!r}: …{out[-200:]!r}")

    def close(self):
        self.response.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
