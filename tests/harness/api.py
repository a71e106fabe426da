"""The HTTP API for tests: every answer is looked at, every error must be a proper RFC 9457 problem."""

import base64
import hashlib
import re

import requests

from .sessions import ExecSession
from .waiting import wait_until

REQUEST_ID = re.compile(r"^req_[0-9a-hjkmnp-tv-z]{20}$")
PROBLEM_TYPE = "https://gstacks.dev/problems/"


class ApiError(AssertionError):
    """An answer with another status than the test expects."""

    def __init__(self, response, expected):
        super().__init__(f"{response.request.method} {response.request.url} answered {response.status_code}, expected "
                         f"{expected}: {response.text[:2000]}")
        self.response = response


def check_problem(response, status=None, code=None):
    """Asserts that the response is a problem of this status and code; returns it."""
    content_type = response.headers.get("Content-Type", "")
    if status is not None and response.status_code != status:
        raise ApiError(response, status)
    assert content_type.startswith("application/problem+json"), f"error with Content-Type {content_type!r}: {response.text[:500]}"
    problem = response.json()
    for member in ("type", "title", "status", "detail", "instance", "code", "requestId"):
        assert member in problem, f"problem without {member}: {problem}"
    assert problem["type"] == PROBLEM_TYPE + problem["code"], problem
    assert problem["status"] == response.status_code, problem
    assert problem["requestId"] == response.headers.get("X-Request-Id"), problem
    if code is not None:
        assert problem["code"] == code, problem
    return problem


class ApiClient:
    """One key's view of the API. Methods raise ApiError on an unexpected status and return the JSON."""

    def __init__(self, base_url, api_key=None, timeout=90):
        self.base_url = base_url.rstrip("/")
        self.api_key = api_key
        self.timeout = timeout
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy variable may come between a test and loopback

    def with_key(self, api_key):
        return ApiClient(self.base_url, api_key, self.timeout)

    def raw(self, method, path, **options):
        """The bare response, whatever its status. Checks only that it names the request."""
        headers = dict(options.pop("headers", None) or {})
        if self.api_key and "Authorization" not in headers:
            headers["Authorization"] = f"Bearer {self.api_key}"
        options.setdefault("timeout", self.timeout)
        response = self._session.request(method, self.base_url + path, headers=headers, **options)
        assert response.headers.get("X-Request-Id"), f"{method} {path}: answer without X-Request-Id"
        return response

    def call(self, method, path, expect=(200, 201, 202, 204), **options):
        response = self.raw(method, path, **options)
        expected = (expect,) if isinstance(expect, int) else expect
        if response.status_code not in expected:
            if response.status_code >= 400:
                check_problem(response)
            raise ApiError(response, expect)
        return response.json() if response.content else None

    def get(self, path, **options):
        return self.call("GET", path, expect=200, **options)

    def post(self, path, body=None, **options):
        return self.call("POST", path, **({"json": body} if body is not None else {}), **options)

    def patch(self, path, body, version, **options):
        return self.call("PATCH", path, json=body, headers={"If-Match": f'"{version}"'}, **options)

    def delete(self, path, **options):
        return self.call("DELETE", path, **options)

    def problem(self, method, path, status, code=None, **options):
        """For tests of refusals: asserts the problem and returns it."""
        return check_problem(self.raw(method, path, **options), status, code)

    def list_all(self, path, **query):
        """Every item, page after page."""
        items, cursor = [], None
        while True:
            page = self.get(path, params={**query, **({"cursor": cursor} if cursor else {})})
            items += page["items"]
            cursor = page.get("nextCursor")
            if not cursor:
                return items

    # What most tests do

    def default_cluster(self):
        return next(cluster for cluster in self.list_all("/api/clusters") if cluster["name"] == "default")

    def create_token(self, cluster_id=None, **members):
        """Returns the answer of createToken, with `token` in it."""
        return self.post("/api/provisioning-tokens", {"clusterId": cluster_id or self.default_cluster()["id"], **members})

    def host(self, host_id):
        return self.get(f"/api/hosts/{host_id}")

    def create_blueprint(self, name, archive, digest=False, expect=201):
        """Uploads the file `archive`, streamed."""
        headers = {"Content-Type": "application/x-tar"}
        if digest:
            with open(archive, "rb") as data:
                value = base64.b64encode(hashlib.file_digest(data, "sha256").digest()).decode()
            headers["Content-Digest"] = f"sha-256=:{value}:"
        with open(archive, "rb") as data:
            return self.call("POST", "/api/blueprints", params={"name": name}, data=data, headers=headers, expect=expect,
                             timeout=600)

    def sandbox(self, sandbox_id):
        return self.get(f"/api/sandboxes/{sandbox_id}")

    def find_sandbox(self, sandbox_id):
        """None when it is gone."""
        response = self.raw("GET", f"/api/sandboxes/{sandbox_id}")
        if response.status_code == 404:
            check_problem(response, 404, "not_found")
            return None
        if response.status_code != 200:
            raise ApiError(response, "200 or 404")
        return response.json()

    def create_sandbox(self, blueprint, wait=True, timeout=60, **members):
        """Creates one; with wait it must become running, and the running record is returned."""
        sandbox = self.post("/api/sandboxes", {"blueprint": blueprint, **members}, expect=201)
        return self.wait_sandbox(sandbox["id"], "running", timeout) if wait else sandbox

    def wait_sandbox(self, sandbox_id, state, timeout=60):
        """Long-polls until it is in `state`. Ending up in another state is a failure that says why."""
        # "failed" ends the wait early: a sandbox does not leave that state by itself.
        states = state if state == "failed" else f"{state},failed"
        sandbox = self.get(f"/api/sandboxes/{sandbox_id}", params={"waitFor": states, "waitMs": int(min(timeout, 60) * 1000)},
                           timeout=timeout + 30)
        assert sandbox["state"] == state, (
            f"sandbox {sandbox_id} is {sandbox['state']} instead of {state}: {sandbox.get('reason')}: {sandbox.get('message')}")
        return sandbox

    def start_sandbox(self, sandbox_id, wait=True):
        answer = self.post(f"/api/sandboxes/{sandbox_id}/start")
        return self.wait_sandbox(sandbox_id, "running") if wait else answer

    def stop_sandbox(self, sandbox_id, grace_ms=1000, wait=True):
        answer = self.post(f"/api/sandboxes/{sandbox_id}/stop", {"graceMs": grace_ms})
        return self.wait_sandbox(sandbox_id, "stopped") if wait else answer

    def reprovision_sandbox(self, sandbox_id, wait=True, **members):
        answer = self.post(f"/api/sandboxes/{sandbox_id}/reprovision", {"graceMs": 1000, **members})
        return self.wait_sandbox(sandbox_id, "running") if wait else answer

    def archive_sandbox(self, sandbox_id, wait=True, grace_ms=1000):
        answer = self.post(f"/api/sandboxes/{sandbox_id}/archive", {"graceMs": grace_ms})
        return self.wait_sandbox(sandbox_id, "archived") if wait else answer

    def restore_sandbox(self, sandbox_id, wait=True, **members):
        answer = self.post(f"/api/sandboxes/{sandbox_id}/restore", members)
        return self.wait_sandbox(sandbox_id, "running") if wait else answer

    def delete_sandbox(self, sandbox_id, wait=True, timeout=60):
        self.delete(f"/api/sandboxes/{sandbox_id}", expect=202)
        if wait:
            wait_until(lambda: self.find_sandbox(sandbox_id) is None, timeout, f"sandbox {sandbox_id} being gone")

    # Sessions

    def open_exec(self, sandbox, argv, **members):
        """A live session; close it, or use it in `with`."""
        return ExecSession(self.base_url, self.api_key, sandbox, argv, **members)

    def exec(self, sandbox, argv, stdin=None, timeout=60, **members):
        """Runs argv to its end; returns ExecResult(code, signal, stdout, stderr, close_code)."""
        with self.open_exec(sandbox, argv, timeout=timeout, **members) as session:
            return session.run(stdin)
