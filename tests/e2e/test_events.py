"""What a real host did to a sandbox can be read afterwards: every change with its actor, and who ended it and why."""

import json


def test_a_life_on_a_real_host_is_told_with_the_certificates_of_its_ends(stack):
    whoami = stack.api.get("/api/whoami")
    me = f"{whoami['user']['id']}/{whoami['apiKeyId']}"
    sandbox = stack.api.create_sandbox("busybox", command=["sh", "-c", "sleep 0.2; exit 3"], wait=False)
    failed = stack.api.wait_sandbox(sandbox["id"], "failed")
    assert (failed["exit"]["code"], failed["exit"]["cause"], failed["exit"]["by"]) == (3, "exited", sandbox["id"])
    idle = stack.api.create_sandbox("busybox")
    stopped = stack.api.stop_sandbox(idle["id"])
    assert (stopped["exit"]["cause"], stopped["exit"]["by"]) == ("stopped", me)
    for each in (sandbox, idle):
        stack.api.delete_sandbox(each["id"])
    events = stack.api.get(f"/api/sandboxes/{idle['id']}/events", params={"limit": 200})["items"]
    kinds = [event["kind"] for event in events]
    assert kinds[0] == "created" and kinds[-1] == "deleted" and "stop_requested" in kinds and "delete_requested" in kinds
    assert {event["actor"] for event in events if event["kind"] in ("observed", "deleted")} == {stack.agent.host_id}
    assert [event["state"] for event in events if event["state"] in ("running", "stopped", "deleted")][0] == "running"
    audited = [entry["action"] for entry in stack.api.list_all("/api/audit") if entry["subject"] == idle["id"]][::-1]
    assert audited[0] == "sandbox.create" and audited[-1] == "sandbox.deleted"
    assert {"sandbox.running", "sandbox.stop", "sandbox.stopped", "sandbox.delete"} <= set(audited)
    told = stack.cli().run("--output", "json", "sandbox", "events", idle["id"], "-f")
    assert [json.loads(line)["sequence"] for line in told.splitlines()] == [event["sequence"] for event in events], \
        "following one that is gone tells its life and ends"
