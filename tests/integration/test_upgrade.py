"""A database that an earlier version wrote opens in this one, and says what it said then. See tests/fixtures/make.py."""

import json
import shutil
from datetime import datetime, timezone
from pathlib import Path

import pytest

from harness.processes import find_binary, run_tool
from harness.stack import Stack

FIXTURES = sorted(path.parent for path in (Path(__file__).resolve().parents[1] / "fixtures").glob("*/server.db"))
# What time alone changes: nobody is connected to a server that was just started, and a key's use is written down.
MOVES = {"hosts": {"state", "disconnectReason", "connectedAt", "version"}, "sandboxes": {"state", "reason", "message"}, "api-keys": {"lastUsedAt"}}


def as_time_left_it(item):
    """A token's state follows from its expiry, and fixtures only get older."""
    if item.get("state") in ("active", "exhausted") and datetime.fromisoformat(item["expiresAt"].replace("Z", "+00:00")) <= datetime.now(timezone.utc):
        return {**item, "state": "expired"}
    return item


def events_of(fixture):
    """The first version had none."""
    path = fixture / "events.json"
    return json.loads(path.read_text()) if path.exists() else {}


def number(fixture):
    return [int(part) for part in fixture.name.split(".")]


NEWEST = max(FIXTURES, key=number)


def test_the_newest_database_holds_something_of_everything():
    sandboxes = {item["name"]: item for item in json.loads((NEWEST / "expected.json").read_text())["sandboxes"]}
    bounded = sandboxes["bounded"]
    assert bounded["restart"] == {"mode": "on_failure", "maxRestarts": 7} and bounded["restarts"] == 1
    assert bounded["idleStopSeconds"] == 86400 and bounded["onDisconnect"] == {"stopAfterSeconds": 3600} and bounded["expiresAt"] > "2030"
    assert sandboxes["archived"]["state"] == "archived" and sandboxes["archived"]["archive"]["sizeBytes"] > 0
    assert (sandboxes["waits"]["state"], sandboxes["waits"]["reason"]) == ("requested", "no_host_fits")
    assert (sandboxes["held"]["state"], sandboxes["held"]["reason"]) == ("deleting", "deletion_held")
    kinds = {event["kind"] for events in events_of(NEWEST).values() for event in events}
    assert {"created", "observed", "stop_requested", "archive_requested", "archived", "delete_requested"} <= kinds


def test_a_deletion_that_an_earlier_agent_held_is_held(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    shutil.copy(NEWEST / "agent.db", state / "agent.db")
    config = tmp_path / "agent.yaml"
    config.write_text("{}\n")
    listed = run_tool([find_binary("gstacks-agent"), "deletions", "list", "--config", config, "--state-dir", state, "--run-dir", tmp_path / "run"]).stdout
    assert "  held\n" in listed and "1 deletions are held" in listed


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda path: path.name)
def test_a_servers_database_of_an_earlier_version_is_served_by_this_one(fixture):
    expected = json.loads((fixture / "expected.json").read_text())
    with Stack(agents=0) as stack:
        # A certificate authority of its own, and the old database: the fixture holds no private key.
        stack.server.stop()
        for path in stack.server.data_dir.glob("server.db*"):
            path.unlink()
        shutil.copy(fixture / "server.db", stack.server.database())
        stack.server.start()
        api = stack.client((fixture / "api-key").read_text().strip())
        for kind, then in expected.items():
            now = {item["id"]: item for item in api.list_all(f"/api/{kind}")}
            assert set(now) == {item["id"] for item in then}, kind
            for item in map(as_time_left_it, then):
                for member, value in item.items():
                    if member not in MOVES.get(kind, ()):
                        assert now[item["id"]].get(member) == value, (kind, item["id"], member)
        for sandbox_id, then in events_of(fixture).items():
            now = api.get(f"/api/sandboxes/{sandbox_id}/events", params={"limit": 200})["items"]
            assert now[:len(then)] == then, "what happened stays as it was told, and later things come after it"
        # It is not only read: what was there can be changed.
        cluster = next(item for item in expected["clusters"] if item["name"] == "second")
        api.delete(f"/api/clusters/{cluster['id']}", expect=204)
        stack.server.restart("stop")
        assert cluster["id"] not in {item["id"] for item in api.list_all("/api/clusters")}
