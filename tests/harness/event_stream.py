"""A client of GET /api/events that holds every event against the contract.

    with EventStream(api, after=0) as stream:
        event = stream.next()        # {"id": 7, "event": "sandbox", "data": {...}}, None at the end of the stream
        stream.position              # what to resume from
"""

import json

import requests

from .contract import Contract
from .server_sent_events import events_of


class EventStream:
    def __init__(self, api, last_event_id=None, timeout=20, contract=None, **params):
        self.contract = contract or getattr(api, "contract", None) or Contract()
        headers = {"Authorization": f"Bearer {api.api_key}"}
        if last_event_id is not None:
            headers["Last-Event-ID"] = str(last_event_id)
        self.response = requests.get(f"{api.base_url}/api/events", headers=headers, params=params, stream=True, timeout=timeout)
        self.status = self.response.status_code
        self.position = None
        self.comments = []
        self.retry_ms = None
        self._lines = None
        if self.status == 200:
            self._check_head(api)
            self._lines = self.response.iter_lines(chunk_size=1)

    def _check_head(self, api):
        headers = self.response.headers
        assert headers["Content-Type"] == "text/event-stream" and headers["Cache-Control"] == "no-store", headers
        assert headers["X-Request-Id"]
        if hasattr(api, "seen"):
            api.seen.add(("streamEvents", 200))

    def next(self):
        """The next event with data; positions and comments are taken on the way. None: the server ended the stream, cleanly."""
        for fields in events_of(self._lines):
            if "" in fields:
                self.comments.append(fields[""])
            if "retry" in fields:
                self.retry_ms = int(fields["retry"])
            if "id" in fields:
                self.position = int(fields["id"])
            if "data" in fields:
                return self._checked(fields)
        return None

    def _checked(self, fields):
        data = json.loads(fields["data"])
        schema = {"sandbox": "SandboxEvent", "gap": "EventGap"}[fields["event"]]
        faults = self.contract.errors({"$ref": f"#/components/schemas/{schema}"}, data)
        assert not faults, (faults, data)
        if schema == "SandboxEvent":
            assert data["sequence"] == int(fields["id"])
        return {"id": int(fields["id"]), "event": fields["event"], "data": data}

    def begin(self):
        """Takes the position with which a stream begins."""
        line = [next(self._lines).decode() for _ in range(3)]
        assert line[0].startswith("retry: ") and line[1].startswith("id: ") and line[2] == "", line
        self.retry_ms, self.position = int(line[0][7:]), int(line[1][4:])
        return self

    def close(self):
        self.response.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
