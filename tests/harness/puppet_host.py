"""A connected host without a runtime behind it: it says of every sandbox that what is wanted is so.

    with PuppetHost(server, token) as host:
        ...  # sandboxes placed on it become running, stopped, deleted as asked
"""

import contextlib
import hashlib
import socket
import threading

import websocket

from .agent_protocol import FakeAgent, healthy_docker, make_facts, messages


class PuppetHost:
    def __init__(self, server, token, name="puppet", runtimes=None, **facts):
        self.agent = FakeAgent.enroll(server, token, name)
        facts.setdefault("traits", ["linux", "amd64", "docker"])
        self.facts = make_facts(runtimes=runtimes if runtimes is not None else [healthy_docker()], **facts)
        self.host_id, self.cluster_id = self.agent.host_id, self.agent.cluster_id
        self.silent = set()  # sandboxes of which it says nothing
        self.held = {}  # sandboxes that it was told of, with the generation
        self.assignments = {}  # the same, as it was told
        self.extra_features = ()
        self.logs = {}  # what it has of the logs of sandboxes: a list of the members of a LogsRecord for each
        self.serve_channel = None  # takes each data channel and its SessionOpen, in a thread of its own
        self.sessions = None  # what it says when it is asked for the sessions of any sandbox: SessionInfo messages; None: too old
        self.fence = None  # the name of the deletions that it would hold back
        self._sequence = 0
        self._untold = {}  # the last observation of each sandbox, until it is acknowledged
        self._link = None
        self._thread = None

    def connect(self):
        self._link = self.agent.link(timeout=60)
        lines = "".join(f"{key} {value}\n" for key, value in sorted(self.held.items()))
        features = ["exec", "adoption", "deletion_fence", "deletion_rejection", "reprovision", "archive", "logs", *self.extra_features] + ([] if self.sessions is None else ["reattach"])
        self._link.hello(facts=self.facts, features=features,
                         assignments_digest=hashlib.sha256(lines.encode()).digest())
        for observation in list(self._untold.values()):
            self._link.send(observation=observation)
        self._thread = threading.Thread(target=self._serve, args=(self._link,), daemon=True)
        self._thread.start()
        return self

    def hold(self, sandbox_id, generation, digest, desired="RUNNING", **spec):
        """As if a control plane had assigned it that nobody remembers. Before connect()."""
        m = messages()
        resources = m.Resources(cpu_millis=1000, memory_bytes=64 << 20, pids=128)
        self.held[sandbox_id] = generation
        self.assignments[sandbox_id] = m.Assignment(
            sandbox_id=sandbox_id, generation=generation, desired=m.DesiredState.values_by_name[f"DESIRED_STATE_{desired}"].number,
            spec=m.SandboxSpec(runtime="docker", blueprint=m.BlueprintRef(manifest_digest=digest, name="lost"), resources=resources, **spec))
        return sandbox_id

    def disconnect(self):
        if self._link:
            # The reader sits in this socket: closing alone would leave it, and the server, none the wiser.
            with contextlib.suppress(AttributeError, OSError):  # the server went first
                self._link.socket.sock.shutdown(socket.SHUT_RDWR)
            self._thread.join(10)
            self._link.drop()
            self._link = None

    def say(self, sandbox_id, generation, state, **members):
        """One observation, e.g. say(id, 1, "FAILED", reason="workload_exited")."""
        self._see(sandbox_id, generation, state, **members)
        self._link.send(observation=self._untold[sandbox_id])

    def _see(self, sandbox_id, generation, state, **members):
        m = messages()
        self._sequence += 1
        self._untold[sandbox_id] = m.Observation(
            sandbox_id=sandbox_id, generation=generation, sequence=self._sequence, reason=members.pop("reason", ""),
            state=m.ObservedState.values_by_name[f"OBSERVED_STATE_{state}"].number, observed_at=m.Timestamp(unix_ms=1767225600000), **members)

    def _serve(self, link):
        threading.Thread(target=self._beat, args=(link,), daemon=True).start()
        # The link may go while an answer is sent; what is left to say is said on the next one.
        with contextlib.suppress(OSError, websocket.WebSocketException):
            self._answer(link)

    def _answer(self, link):
        while (message := link.receive()) is not None:
            if message.WhichOneof("body") == "observation_ack":
                told = self._untold.get(message.observation_ack.sandbox_id)
                if told and told.sequence <= message.observation_ack.sequence:
                    self._untold.pop(told.sandbox_id, None)
            elif message.WhichOneof("body") == "assignment":
                self._obey(message.assignment)
            elif message.WhichOneof("body") == "inventory_request":
                m = messages()
                held = [m.AssignmentVersion(sandbox_id=key, generation=value) for key, value in self.held.items()]
                self._link.send(inventory=m.Inventory(assignments=held))
            elif message.WhichOneof("body") == "open_channels" and (self.serve_channel or self.logs or self.sessions is not None):
                for ticket in message.open_channels.tickets:
                    threading.Thread(target=self._answer_channel, args=(ticket,), daemon=True).start()
            elif message.WhichOneof("body") == "held_request":
                for sandbox_id in message.held_request.sandbox_ids:
                    self._link.send(held_sandbox=messages().HeldSandbox(assignment=self.assignments[sandbox_id]))
            elif message.WhichOneof("body") in ("confirm_deletions", "reject_deletions"):
                asked, m = getattr(message, message.WhichOneof("body")), messages()
                error = None if asked.fence_id == self.fence else m.Status(code="failed_precondition", message="other ones are held", reason="fence_changed")
                self._link.send(confirm_deletions_reply=m.ConfirmDeletionsReply(request_id=asked.request_id, error=error, released=0 if error else 3))

    def _answer_channel(self, ticket):
        # A spare goes with the link.
        with contextlib.suppress(OSError, websocket.WebSocketException), self.agent.channel(ticket, timeout=60) as channel:
            opened = channel.receive_bytes()
            if opened is None:
                return
            asked = messages().SessionOpen.FromString(opened)
            if asked.WhichOneof("kind") in ("list", "end"):
                self._answer_about_sessions(channel, asked)
            elif asked.WhichOneof("kind") == "logs":
                self._tell_log(channel, asked)
            else:
                self.serve_channel(channel, asked)

    def _answer_about_sessions(self, channel, asked):
        m = messages()
        reply = m.SessionsReply()
        known = [info for info in self.sessions if info.session_id == asked.session_id]
        if asked.WhichOneof("kind") == "list":
            reply.sessions.extend(self.sessions)
        elif known:
            self.sessions.remove(known[0])
        else:
            reply.error.CopyFrom(m.Status(code="not_found", message="there is no such session"))
        channel.send_bytes(reply.SerializeToString())
        channel.wait_closed()
    def _tell_log(self, channel, asked):
        m = messages()
        for members in self.logs.get(asked.sandbox_id, []):
            channel.send_bytes(m.LogsFrame(batch=m.LogsBatch(records=[m.LogsRecord(**members)])).SerializeToString())
        channel.send_bytes(m.LogsFrame(end=m.LogsEnd()).SerializeToString())

    def _beat(self, link):
        stopped = threading.Event()
        sequence = 0
        while not stopped.wait(1):
            sequence += 1
            try:
                link.send(heartbeat=messages().Heartbeat(sequence=sequence))
            except Exception:  # the link is gone; the reader notices
                return

    def _obey(self, assignment):
        m = messages()
        self.held[assignment.sandbox_id] = assignment.generation
        self.assignments[assignment.sandbox_id] = assignment
        wanted = m.DesiredState.values_by_number[assignment.desired].name.removeprefix("DESIRED_STATE_")
        reason = {"STOPPED": "stopped_by_user", "ARCHIVED": "archiving"}.get(wanted, "")
        # Archived is for the server to say, when it has what the test uploads (agent.upload_layer).
        silent = assignment.sandbox_id in self.silent
        if not silent:
            self._see(assignment.sandbox_id, assignment.generation, "STOPPED" if wanted == "ARCHIVED" else wanted, reason=reason)
        # From here on the link may go at any moment: what is held and seen is told on the next one.
        self._link.send(assignment_ack=m.AssignmentAck(sandbox_id=assignment.sandbox_id, generation=assignment.generation))
        if not silent:
            self._link.send(observation=self._untold[assignment.sandbox_id])

    def __enter__(self):
        return self.connect()

    def __exit__(self, *_):
        self.disconnect()
        self.agent.close()
