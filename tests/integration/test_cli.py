"""gstacks against a fake control plane: what it asks for, what it shows, how it exits.

Every request and answer here is held against openapi.yaml (harness/fake_api.py), so these tests also show that the command
line keeps the contract. The real server comes in the end-to-end tests.
"""

import base64
import hashlib
import json
import os
import re
import signal
import stat
import subprocess
import threading
import time
from unittest.mock import ANY

import pytest

from harness.fake_api import REQUEST_ID, FakeApi, Raw
from harness.processes import find_binary, free_port
from harness.terminal import Terminal
from harness.waiting import hold, wait_until

KEY = "gsk_0123456789abcdefghjk_" + "A" * 43
ID = "0123456789abcdefghjk"
OTHER_ID = "123456789abcdefghjkm"



def gstacks(*args, env=None, stdin=None, timeout=60, text=True, cwd=None):
    """Runs it to its end; returns CompletedProcess. The machine's own login and variables take no part."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GSTACKS_") and k not in ("XDG_CONFIG_HOME", "NO_COLOR")}
    environment.update({"HOME": "/nonexistent", **(env or {})})
    return subprocess.run([find_binary("gstacks"), *map(str, args)], env=environment, input=stdin, capture_output=True,
                          text=text, timeout=timeout, cwd=cwd)


@pytest.fixture
def api():
    with FakeApi() as fake:
        yield fake


@pytest.fixture
def config(api, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"baseUrl": api.base_url, "apiKey": KEY}))
    path.chmod(0o600)
    return path


@pytest.fixture
def run(config):
    """run(*words) with a login for the fake; asserts nothing."""
    def call(*words, **options):
        return gstacks("--config-file", config, *words, **options)
    return call


@pytest.fixture
def good(run):
    """Standard output of a call that must succeed; with JSON, parsed."""
    def call(*words, **options):
        done = run(*words, **options)
        assert done.returncode == 0, f"exit {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout
    return call


@pytest.fixture
def good_json(good):
    return lambda *words, **options: json.loads(good("--output", "json", *words, **options))


def sandbox(api, **members):
    return api.example("Sandbox", **{"state": "running", "reason": None, "message": None, "exit": None, "command": None, **members})


# --- Login -------------------------------------------------------------------------------------------------------------


def login_ways(tmp_path):
    key_file = tmp_path / "key"
    key_file.write_text(KEY + "\n")
    return [
        (["--api-key", KEY], None),
        (["--api-key-file", key_file], None),
        (["--api-key-file", "-"], KEY + "\n"),
        (["--api-key-stdin"], "  " + KEY + "  \nrest\n"),
    ]


def test_login_tries_the_key_and_stores_it_for_its_owner_only(api, tmp_path):
    api.on("GET", "/api/whoami", api.example("Identity"))
    for number, (words, stdin) in enumerate(login_ways(tmp_path)):
        path = tmp_path / f"home{number}" / "config.json"
        done = gstacks("auth", "login", "--base-url", api.base_url + "/", *words, "--config-file", path, stdin=stdin)
        assert done.returncode == 0, done.stderr
        assert "admin@example.com" in done.stdout and "acme" in done.stdout
        assert json.loads(path.read_text()) == {"baseUrl": api.base_url, "apiKey": KEY}
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert api.requests[-1].headers["authorization"] == f"Bearer {KEY}"
        assert KEY not in done.stdout + done.stderr


def test_login_uses_the_usual_place_in_the_home_directory(api, tmp_path):
    api.on("GET", "/api/whoami", api.example("Identity"))
    env = {"HOME": str(tmp_path), "GSTACKS_BASE_URL": api.base_url}
    assert gstacks("auth", "login", "--api-key-stdin", stdin=KEY, env=env).returncode == 0
    assert (tmp_path / ".config" / "gstacks" / "config.json").exists()
    assert gstacks("whoami", env={"HOME": str(tmp_path)}).returncode == 0


def test_login_that_is_refused_stores_nothing(api, tmp_path):
    api.on("GET", "/api/whoami", api.problem(401, "unauthenticated", "The request has no valid API key."))
    path = tmp_path / "config.json"
    done = gstacks("auth", "login", "--base-url", api.base_url, "--api-key", KEY, "--config-file", path)
    assert done.returncode == 3
    assert "no valid API key" in done.stderr and "fix:" in done.stderr and REQUEST_ID in done.stderr
    assert not path.exists()


@pytest.mark.parametrize("words, stdin, named", [
    (["--api-key", "hunter2"], None, "not an API key"),
    (["--api-key", KEY + "x"], None, "not an API key"),
    (["--api-key", KEY, "--api-key-stdin"], "", "exclude each other"),
    (["--api-key-stdin"], "\n", "first line is empty"),
    (["--api-key-file", "/nonexistent/key"], None, "/nonexistent/key"),
    ([], "", "--api-key-file"),  # nothing to ask on
])
def test_login_without_a_usable_key_is_a_usage_error(api, tmp_path, words, stdin, named):
    path = tmp_path / "config.json"
    done = gstacks("auth", "login", "--base-url", api.base_url, *words, "--config-file", path, stdin=stdin or "")
    assert done.returncode == 2
    assert named in done.stderr
    assert KEY[10:] not in done.stderr and "hunter2" not in done.stderr
    assert not api.requests and not path.exists()


def test_login_asks_on_a_terminal_without_showing_the_key(api, tmp_path):
    api.on("GET", "/api/whoami", api.example("Identity"))
    path = tmp_path / "config.json"
    terminal = Terminal("auth", "login", "--base-url", api.base_url, "--config-file", path)
    terminal.read_until("not shown")
    terminal.write(KEY + "\n")
    assert terminal.wait() == 0
    assert KEY not in terminal.shown and "Logged in" in terminal.shown
    assert json.loads(path.read_text())["apiKey"] == KEY


def test_interrupted_question_gives_the_terminal_its_echo_back(api, tmp_path):
    import termios
    terminal = Terminal("auth", "login", "--base-url", api.base_url, "--config-file", tmp_path / "c.json")
    terminal.read_until("not shown")
    wait_until(lambda: not termios.tcgetattr(terminal.fd)[3] & termios.ECHO, 5, "echo off")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.wait() == -signal.SIGINT
    assert termios.tcgetattr(terminal.fd)[3] & termios.ECHO


def test_logout_forgets_and_may_be_repeated(run, config):
    assert "Removed" in run("auth", "logout").stdout
    assert not config.exists()
    done = run("auth", "logout")
    assert done.returncode == 0 and "not logged in" in done.stdout
    assert run("whoami").returncode == 3


def test_login_file_that_others_can_read_is_pointed_out(run, config, api):
    api.on("GET", "/api/whoami", api.example("Identity"))
    config.chmod(0o644)
    done = run("whoami")
    assert done.returncode == 0 and "warning:" in done.stderr and "chmod 600" in done.stderr


def test_variables_replace_the_login(api, tmp_path):
    api.on("GET", "/api/whoami", api.example("Identity"))
    env = {"GSTACKS_API_KEY": KEY, "GSTACKS_BASE_URL": api.base_url}
    assert gstacks("whoami", env=env).returncode == 0
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"baseUrl": api.base_url, "apiKey": KEY}))
    path.chmod(0o600)
    assert gstacks("whoami", env={"GSTACKS_CONFIG_FILE": str(path)}).returncode == 0


def test_stored_key_is_never_sent_to_another_server(run, api):
    with FakeApi() as other:
        done = run("whoami", env={"GSTACKS_BASE_URL": other.base_url})
        assert done.returncode == 3 and "stored API key is for" in done.stderr
        assert not other.requests


def test_key_on_the_command_line_is_covered_up_in_the_process_list(api, tmp_path):
    seen = []

    def look(_):
        seen.append(open(f"/proc/{process.pid}/cmdline").read())
        return api.example("Identity")

    api.on("GET", "/api/whoami", look)
    process = subprocess.Popen([find_binary("gstacks"), "auth", "login", "--base-url", api.base_url, "--api-key", KEY,
                                "--config-file", tmp_path / "c.json"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert process.wait(20) == 0
    assert seen and KEY not in seen[0] and "A" * 20 not in seen[0]


# --- Identity and versions ---------------------------------------------------------------------------------------------


def test_whoami(api, good, good_json):
    identity = api.example("Identity")
    api.on("GET", "/api/whoami", identity)
    assert "admin@example.com" in good("whoami")
    assert good_json("whoami") == identity


def test_version_shows_both_sides_when_logged_in(api, good, good_json):
    api.on("GET", "/api/version", api.example("Version"))
    assert re.search(r"Client: +0\.1\.\d+-\w+\nServer: +0\.1\.339-6d0940d\n", good("version"))
    assert good_json("version")["server"] == {"version": "0.1.339-6d0940d"}
    assert "Server" not in good("version", "--client")


def test_version_needs_neither_login_nor_server(tmp_path):
    done = gstacks("version", "--config-file", tmp_path / "none.json")
    assert done.returncode == 0 and done.stdout.startswith("Client:")
    assert gstacks("--version").stdout.startswith("gstacks 0.1.")


# --- Hosts -------------------------------------------------------------------------------------------------------------


def test_host_list_shows_names_of_clusters(api, good, good_json):
    hosts = [api.example("Host"), api.example("Host", 1, id=f"hst_{OTHER_ID}")]
    api.on("GET", "/api/hosts", {"items": hosts})
    api.on("GET", "/api/clusters", {"items": [api.example("Cluster")]})
    lines = good("host", "list").splitlines()
    assert lines[0].split()[:4] == ["NAME", "ID", "STATE", "CLUSTER"]
    assert lines[1].split()[:5] == ["rack-3-a", f"hst_{ID}", "connected", "default", "amd64"]
    assert lines[2].split()[:3] == ["just-enrolled", f"hst_{OTHER_ID}", "disconnected"]
    assert len({line.find(column) for line in lines for column in ("STATE", "connected", "disconnected") if column in line}) <= 2
    assert good_json("host", "list") == {"items": hosts}
    assert good("host", "list", "--quiet").split() == [f"hst_{ID}", f"hst_{OTHER_ID}"]


def test_list_reads_every_page(api, good):
    pages = {None: (0, "abc"), "abc": (1, "def"), "def": (2, None)}

    def page(request):
        number, following = pages[request.query.get("cursor")]
        answer = {"items": [api.example("Cluster", name=f"c{number}")]}
        return {**answer, "nextCursor": following} if following else answer

    api.on("GET", "/api/clusters", page)
    assert [line.split()[0] for line in good("cluster", "list").splitlines()] == ["NAME", "c0", "c1", "c2"]
    assert len(api.requests) == 3


def test_host_list_of_a_cluster_by_its_name(api, good):
    api.on("GET", "/api/clusters", {"items": [api.example("Cluster", name="gpu")]})
    api.on("GET", "/api/hosts", {"items": []})
    good("host", "list", "--cluster", "gpu")
    assert api.asked("GET", "/api/hosts")[0].query["clusterId"] == f"clu_{ID}"


@pytest.mark.parametrize("words", [["rack-3-a"], [f"hst_{ID}"], ["--host-id", f"hst_{ID}"], ["--host-id", "rack-3-a"]])
def test_host_info_by_id_or_name(api, good, words):
    api.on("GET", "/api/hosts", {"items": [api.example("Host")]})
    api.on("GET", f"/api/hosts/hst_{ID}", api.example("Host"))
    api.on("GET", "/api/clusters", {"items": [api.example("Cluster")]})
    shown = good("host", "info", *words)
    for expected in ("rack-3-a", "0.1.339-6d0940d", "amd64", "Debian GNU/Linux 12", "sbx", "coming soon", "clock_skew", "zone=rack-3"):
        assert expected in shown


def test_host_update_merges_tags_under_the_version_that_was_read(api, good_json):
    api.on("GET", f"/api/hosts/hst_{ID}", api.example("Host", tags={"zone": "rack-3", "spare": "yes"}))
    api.on("PATCH", f"/api/hosts/hst_{ID}", lambda r: api.example("Host", tags=r.json["tags"], version=4))
    updated = good_json("host", "update", f"hst_{ID}", "--tag", "zone=rack-4", "--tag", "note=a=b", "--remove-tag", "spare")
    assert updated["tags"] == {"zone": "rack-4", "note": "a=b"}
    assert api.requests[-1].headers["if-match"] == '"3"'


def test_host_update_by_a_slower_second_person(api, run):
    api.on("GET", f"/api/hosts/hst_{ID}", api.example("Host"))
    api.on("PATCH", f"/api/hosts/hst_{ID}", api.problem(412, "aborted", "The host was changed meanwhile."))
    assert run("host", "update", f"hst_{ID}", "--name", "x").returncode == 5


def test_host_remove_says_what_stands_in_the_way(api, run):
    api.on("DELETE", f"/api/hosts/hst_{ID}",
           api.problem(409, "failed_precondition", "Sandboxes live on the host.",
                       errors=[{"pointer": f"/sandboxes/sbx_{ID}", "detail": "is running"}]), None)
    done = run("host", "remove", f"hst_{ID}")
    assert done.returncode == 5
    assert f"- sbx_{ID}: is running" in done.stderr and "--force" in done.stderr
    assert run("host", "remove", f"hst_{ID}", "--force").returncode == 0
    assert api.requests[-1].query == {"force": "true"}


def test_adoptable_sandboxes_are_listed_and_adopted(api, run, good, good_json):
    items = [api.example("AdoptableSandbox", id=f"sbx_{ID}", name="lost"), api.example("AdoptableSandbox", id=f"sbx_{OTHER_ID}", name="other")]
    api.on("GET", f"/api/hosts/hst_{ID}/adoptable", {"items": items})
    lines = good("host", "adoptable", f"hst_{ID}").splitlines()
    assert lines[0].split()[:3] == ["NAME", "ID", "STATE"] and lines[1].split()[:2] == ["lost", f"sbx_{ID}"]
    assert good_json("host", "adoptable", f"hst_{ID}") == {"items": items}
    api.on("POST", f"/api/hosts/hst_{ID}/adoptable/sbx_{ID}",
           api.problem(409, "already_exists", "There is a sandbox lost."), lambda r: sandbox(api, name=r.json.get("name", "lost")))
    done = run("host", "adopt", f"hst_{ID}", f"sbx_{ID}")
    assert done.returncode == 5 and "--name" in done.stderr
    assert "found is adopted" in good("host", "adopt", f"hst_{ID}", f"sbx_{ID}", "--name", "found")
    assert run("host", "adopt", f"hst_{ID}", "lost").returncode == 2, "a name means nothing to a server without the record"


def test_held_deletions_are_confirmed_by_their_fence(api, run, good):
    fence = "0123456789abcdef" * 2
    api.on("POST", f"/api/hosts/hst_{ID}/deletion-confirmations",
           api.problem(409, "failed_precondition", "Other deletions are held by now.", fix="Look again."), {"fence": fence, "released": 12})
    assert run("host", "confirm-deletions", f"hst_{ID}", "--fence", fence).returncode == 5
    assert "12 deletions go on" in good("host", "confirm-deletions", f"hst_{ID}", "--fence", fence)
    assert api.requests[-1].json == {"fence": fence}
    assert run("host", "confirm-deletions", f"hst_{ID}").returncode == 2
    held = {"state": "deleting", "desiredState": "deleted", "reason": "deletion_held", "message": "It waits.", "generation": 2, "observedGeneration": 2}
    api.on("DELETE", f"/api/sandboxes/sbx_{ID}", sandbox(api, **held))
    api.on("GET", f"/api/sandboxes/sbx_{ID}", sandbox(api, **held))
    done = run("sandbox", "delete", f"sbx_{ID}", "--wait")
    assert done.returncode == 5 and "deletions_held" in done.stderr, done.stderr


def test_held_deletions_are_rejected_by_their_fence(api, run, good):
    fence = "0123456789abcdef" * 2
    api.on("POST", f"/api/hosts/hst_{ID}/deletion-rejections", {"fence": fence, "rejected": 12})
    assert "12 deletions are refused" in good("host", "reject-deletions", f"hst_{ID}", "--fence", fence)
    assert api.requests[-1].json == {"fence": fence}
    rejected = {"state": "deleting", "desiredState": "deleted", "reason": "deletion_rejected", "message": "No.", "generation": 2, "observedGeneration": 2}
    api.on("DELETE", f"/api/sandboxes/sbx_{ID}", sandbox(api, **rejected))
    api.on("GET", f"/api/sandboxes/sbx_{ID}", sandbox(api, **rejected))
    done = run("sandbox", "delete", f"sbx_{ID}", "--wait")
    assert done.returncode == 5 and "sandbox start" in done.stderr, done.stderr


# --- Clusters, tokens, keys --------------------------------------------------------------------------------------------


def test_cluster_create_rename_delete(api, good):
    api.on("POST", "/api/clusters", lambda r: api.example("Cluster", **r.json))
    assert good("cluster", "create", "gpu").startswith("Cluster gpu created")
    assert api.requests[-1].json == {"name": "gpu", "kind": "byo"}
    api.on("GET", "/api/clusters", {"items": [api.example("Cluster"), api.example("Cluster", name="gpu", id=f"clu_{OTHER_ID}", version=7)]})
    api.on("PATCH", f"/api/clusters/clu_{OTHER_ID}", lambda r: api.example("Cluster", id=f"clu_{OTHER_ID}", **r.json))
    assert good("cluster", "rename", "gpu", "fast", "-q").strip() == f"clu_{OTHER_ID}"
    assert api.requests[-1].headers["if-match"] == '"7"'
    api.on("DELETE", f"/api/clusters/clu_{OTHER_ID}", None)
    assert "deleted" in good("cluster", "delete", "gpu")


def test_token_create_uses_the_default_cluster_and_shows_the_secret_once(api, run, tmp_path):
    secret = f"gsp_{ID}_{'A' * 43}_{'B' * 43}"
    api.on("GET", "/api/clusters", {"items": [api.example("Cluster", isDefault=False, id=f"clu_{OTHER_ID}", name="x"), api.example("Cluster")]})
    api.on("POST", "/api/provisioning-tokens", api.example("CreatedProvisioningToken"))
    done = run("token", "create", "--max-uses", "20", "--expires-in", "24h", "--name", "rack-3")
    assert done.stdout == secret + "\n" and secret not in done.stderr and "gstacks-agent enroll" in done.stderr
    assert api.requests[-1].json == {"clusterId": f"clu_{ID}", "maxUses": 20, "expiresInSeconds": 86400, "name": "rack-3"}

    path = tmp_path / "token"
    done = run("token", "create", "--token-file", path, "--output", "json")
    assert path.read_text() == secret + "\n" and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secret not in done.stdout + done.stderr and json.loads(done.stdout)["id"] == f"tok_{ID}"

    asked = len(api.requests)
    done = run("token", "create", "--token-file", path)
    assert done.returncode == 5 and len(api.requests) == asked, "no token is made that has no place"


def test_failed_token_create_leaves_no_file(api, run, tmp_path):
    api.on("GET", "/api/clusters", {"items": [api.example("Cluster", kind="managed")]})
    api.on("POST", "/api/provisioning-tokens", api.problem(409, "failed_precondition", "Machines never enroll into it."))
    assert run("token", "create", "--token-file", tmp_path / "token").returncode == 5
    assert not (tmp_path / "token").exists()


def test_token_and_key_lists_and_revocation_by_name(api, good):
    api.on("GET", "/api/clusters", {"items": [api.example("Cluster")]})
    api.on("GET", "/api/provisioning-tokens", {"items": [api.example("ProvisioningToken")]})
    assert re.search(r"rack-3 +active +default +3/20", good("token", "list"))
    api.on("DELETE", f"/api/provisioning-tokens/tok_{ID}", None)
    good("token", "revoke", "rack-3")

    gone = api.example("ApiKey", id=f"key_{OTHER_ID}", revokedAt="2026-01-02T03:04:05.678Z")
    api.on("GET", "/api/api-keys", {"items": [gone, api.example("ApiKey")]})
    assert re.search(r"ci +key_\w+ +revoked", good("api-key", "list"))
    api.on("DELETE", f"/api/api-keys/key_{ID}", None)
    good("api-key", "revoke", "ci")  # the one that lives


def test_api_key_create(api, run):
    api.on("POST", "/api/api-keys", api.example("CreatedApiKey"))
    done = run("api-key", "create", "ci", "--role", "viewer")
    assert done.stdout.strip() == api.example("CreatedApiKey")["key"]
    assert api.requests[-1].json == {"name": "ci", "role": "viewer"}


# --- Blueprints --------------------------------------------------------------------------------------------------------


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "image.tar"
    path.write_bytes(os.urandom(3_000_001))
    return path


def test_blueprint_create_states_the_digest_and_sends_the_bytes(api, run, archive):
    api.on("POST", "/api/blueprints", api.example("Blueprint"))
    done = run("blueprint", "create", "debian-12", "--archive", archive)
    assert done.returncode == 0 and "Blueprint debian-12 created" in done.stdout
    request = api.requests[-1]
    assert request.query == {"name": "debian-12"} and request.body == archive.read_bytes()
    digest = base64.b64encode(hashlib.sha256(archive.read_bytes()).digest()).decode()
    assert request.headers["content-digest"] == f"sha-256=:{digest}:"
    assert request.headers["content-length"] == "3000001"
    assert "uploaded 2.9 MiB" in done.stderr and "\r" not in done.stderr


def test_blueprint_create_from_a_pipe_is_chunked_and_unhashed(api, run, archive):
    api.on("POST", "/api/blueprints", api.example("Blueprint"))
    done = run("blueprint", "create", "debian-12", "--archive", "-", stdin=archive.read_bytes(), text=False)
    assert done.returncode == 0
    assert api.requests[-1].body == archive.read_bytes()
    assert api.requests[-1].headers["transfer-encoding"] == "chunked" and "content-digest" not in api.requests[-1].headers


def test_blueprint_create_draws_a_bar_on_a_terminal(api, config, tmp_path):
    path = tmp_path / "big.tar"
    with open(path, "wb") as file:
        file.truncate(400 << 20)  # a hole: large without taking room
    api.on("POST", "/api/blueprints", api.example("Blueprint"))
    terminal = Terminal("--config-file", config, "blueprint", "create", "debian-12", "--archive", path, columns=110)
    assert terminal.wait() == 0
    assert re.search(r"\r\x1b\[K\[#*\.*\] (hashing|uploading)  [\d.]+ MiB of 400 MiB  \d+ %  [\d.]+ MiB/s  \w+ left", terminal.shown)
    assert "uploaded 400 MiB in" in terminal.shown


@pytest.mark.parametrize("make, named", [
    (lambda p: None, "No such file"),
    (lambda p: p.mkdir(), "is a directory"),
    (lambda p: p.touch(), "is empty"),
])
def test_archives_that_cannot_be_are_refused_here(api, run, tmp_path, make, named):
    path = tmp_path / "archive"
    make(path)
    done = run("blueprint", "create", "x", "--archive", path)
    assert done.returncode == 2 and "--archive" in done.stderr and named in done.stderr
    assert not api.requests


@pytest.mark.parametrize("status, code, reason, exit_code", [
    (409, "already_exists", None, 5),
    (400, "invalid_argument", "archive_not_an_image", 2),
    (422, "data_loss", "digest_mismatch", 1),
    (413, "resource_exhausted", None, 1),
    (507, "resource_exhausted", None, 1),
])
def test_blueprint_create_refusals(api, run, archive, status, code, reason, exit_code):
    api.on("POST", "/api/blueprints", api.problem(status, code, "No.", **({"reason": reason} if reason else {})))
    done = run("blueprint", "create", "x", "--archive", archive, "--output", "json")
    error = json.loads(done.stderr)["error"]
    assert (done.returncode, error["code"], error.get("reason")) == (exit_code, code, reason)


def test_blueprint_list_info_delete(api, good, good_json):
    blueprint = api.example("Blueprint")
    api.on("GET", "/api/blueprints", {"items": [blueprint]})
    assert re.search(r"debian-12 +bpt_\w+ +amd64 +119.2 MiB +1 +sha256:e3b0c44298fc", good("blueprint", "list"))
    for reference in ("debian-12", blueprint["digest"]):
        assert good_json("blueprint", "info", reference) == blueprint
    assert "PATH=/usr/bin:/bin" in good("blueprint", "info", "debian-12")
    api.on("DELETE", f"/api/blueprints/bpt_{ID}", None)
    good("blueprint", "delete", "debian-12")


# --- Sandboxes ---------------------------------------------------------------------------------------------------------


def test_sandbox_create_sends_what_was_said(api, good_json):
    api.on("GET", "/api/hosts", {"items": [api.example("Host")]})
    api.on("POST", "/api/sandboxes", sandbox(api, state="placing", observedGeneration=0))
    api.on("GET", f"/api/sandboxes/sbx_{ID}", sandbox(api))
    good_json("sandbox", "create", "--blueprint", "debian-12", "--name", "web", "--host-id", "rack-3-a", "--cluster", f"clu_{ID}",
              "--cpu", "1.5", "--memory", "512MiB", "--pids", "64", "-e", "A=1", "--env", "B=x=y", "--workdir", "/srv", "--user", "1000:1000",
              "--trait", "kvm", "--trait", "amd64", "--tag", "zone=rack-3", "--runtime", "docker", "--", "sh", "-c", "exit 3", "--output")
    assert api.asked("POST", "/api/sandboxes")[0].json == {
        "blueprint": "debian-12", "name": "web", "hostId": f"hst_{ID}", "clusterId": f"clu_{ID}",
        "resources": {"cpuMillis": 1500, "memoryBytes": 512 << 20, "pids": 64}, "env": {"A": "1", "B": "x=y"}, "workingDir": "/srv",
        "user": "1000:1000", "requiredTraits": ["kvm", "amd64"], "requiredTags": {"zone": "rack-3"}, "runtime": "docker",
        "command": ["sh", "-c", "exit 3", "--output"]}


def test_sandbox_create_waits_and_tells_the_states(api, run):
    api.on("POST", "/api/sandboxes", sandbox(api, state="placing", observedGeneration=0, reason="pending_placement"))
    api.on("GET", f"/api/sandboxes/sbx_{ID}", sandbox(api, state="provisioning", message="Fetching the blueprint."),
           sandbox(api, state="starting"), sandbox(api))
    done = run("sandbox", "create", "--blueprint", "debian-12")
    assert done.returncode == 0 and "Sandbox scratch runs" in done.stdout
    assert re.search(r"placing.*provisioning  Fetching the blueprint\..*starting.*running", done.stderr, re.S)
    waits = [request.query["waitFor"].split(",") for request in api.asked("GET", f"/api/sandboxes/sbx_{ID}")]
    assert "placing" not in waits[0] and "running" in waits[0] and "failed" in waits[0] and "provisioning" not in waits[1]


def test_sandbox_create_without_waiting(api, good):
    api.on("POST", "/api/sandboxes", sandbox(api, state="placing", observedGeneration=0))
    assert "is being made" in good("sandbox", "create", "--blueprint", "d", "--no-wait")
    assert good("sandbox", "create", "--blueprint", "d", "--no-wait", "--quiet") == f"sbx_{ID}\n"
    assert len(api.requests) == 2


def test_sandbox_that_fails_says_why(api, run):
    api.on("POST", "/api/sandboxes", sandbox(api, state="provisioning"))
    api.on("GET", f"/api/sandboxes/sbx_{ID}",
           sandbox(api, state="failed", reason="workload_start_failed", message="There is no program 'srv'."))
    done = run("sandbox", "create", "--blueprint", "d", "--", "srv")
    assert done.returncode == 5
    assert "sandbox scratch is failed: There is no program 'srv'" in done.stderr and "sandbox info scratch" in done.stderr
    done = run("sandbox", "create", "--blueprint", "d", "--output", "json", "--", "srv")
    assert json.loads(done.stderr)["error"]["reason"] == "workload_start_failed" and done.stdout == ""


def test_workload_that_is_done_at_once_is_no_failure(api, good):
    api.on("POST", "/api/sandboxes", sandbox(api, state="placing", observedGeneration=0))
    api.on("GET", f"/api/sandboxes/sbx_{ID}", sandbox(api, state="stopped", reason="workload_exited",
                                                       exit={"code": 0, "at": "2026-01-02T03:04:07.000Z"}))
    assert "ran to its end" in good("sandbox", "create", "--blueprint", "d", "--", "true")


def test_waiting_ends_with_the_timeout(api, run):
    def slow(request):
        hold(min(int(request.query["waitMs"]) / 1000, 0.3))
        return sandbox(api, state="provisioning", reason="provisioning", message="Downloading.")

    api.on("POST", "/api/sandboxes", sandbox(api, state="provisioning"))
    api.on("GET", f"/api/sandboxes/sbx_{ID}", slow)
    started = time.monotonic()
    done = run("sandbox", "create", "--blueprint", "d", "--timeout", "1s")
    assert done.returncode == 6 and "still provisioning" in done.stderr and "Downloading" in done.stderr
    assert time.monotonic() - started < 5


def test_no_host_fits(api, run):
    api.on("POST", "/api/sandboxes", api.problem(409, "failed_precondition", "None of 1 hosts fits.", fix="Enroll another host.", errors=[
        {"pointer": f"/hosts/hst_{ID}", "detail": "runtime docker is unhealthy: dockerd does not answer"}]))
    done = run("sandbox", "create", "--blueprint", "d")
    assert done.returncode == 5
    assert done.stderr == ("error: None of 1 hosts fits\n"
                           f"  - hst_{ID}: runtime docker is unhealthy: dockerd does not answer\n"
                           f"fix: Enroll another host.\nrequest: {REQUEST_ID}\n")


def test_restart_is_not_taken_for_the_failure_before_it(api, good):
    old = {"state": "failed", "reason": "workload_exited", "message": "Code 3.", "generation": 2, "observedGeneration": 1}
    api.on("POST", f"/api/sandboxes/sbx_{ID}/start", sandbox(api, **old))
    api.on("GET", f"/api/sandboxes/sbx_{ID}", sandbox(api, **old), sandbox(api, generation=2, observedGeneration=2))
    assert "runs" in good("sandbox", "start", f"sbx_{ID}")


def test_stop_and_delete_by_name(api, good, good_json):
    api.on("GET", "/api/sandboxes", {"items": [sandbox(api)]})
    api.on("POST", f"/api/sandboxes/sbx_{ID}/stop", sandbox(api, generation=2))
    api.on("GET", f"/api/sandboxes/sbx_{ID}", sandbox(api, generation=2),
           sandbox(api, state="stopped", reason="stopped_by_user", generation=2, observedGeneration=2))
    assert "is stopped" in good("sandbox", "stop", "scratch", "--grace", "1m")
    assert api.asked("POST", f"/api/sandboxes/sbx_{ID}/stop")[0].json == {"graceMs": 60000}

    api.on("DELETE", f"/api/sandboxes/sbx_{ID}", sandbox(api, state="deleting", desiredState="deleted"))
    api.on("GET", f"/api/sandboxes/sbx_{ID}", sandbox(api, state="deleting", desiredState="deleted"), api.problem(404, "not_found", "Gone."))
    assert "is deleted" in good("sandbox", "delete", "scratch", "--wait")
    api.on("GET", f"/api/sandboxes/sbx_{ID}", api.problem(404, "not_found", "Gone."))
    assert good_json("sandbox", "delete", "scratch") == {"id": f"sbx_{ID}", "deleted": True}
    assert good_json("sandbox", "delete", "scratch", "--no-wait")["state"] == "deleting"


def test_sandbox_list_and_info(api, good, good_json):
    failed = api.example("Sandbox")
    api.on("GET", "/api/sandboxes", {"items": [failed]})
    api.on("GET", "/api/hosts", {"items": [api.example("Host")]})
    assert re.search(r"scratch +sbx_\w+ +failed +debian-12 +rack-3-a +1 +512 MiB .* +workload_exited", good("sandbox", "list"))
    good("sandbox", "list", "--host-id", "rack-3-a", "--state", "failed")
    assert api.asked("GET", "/api/sandboxes")[-1].query == {"hostId": f"hst_{ID}", "state": "failed", "limit": "200"}
    shown = good("sandbox", "info", "scratch")
    for expected in ("failed", "workload_exited", "code 3", '["sh","-c","exit 3"]', "rack-3-a"):
        assert expected in shown
    assert good_json("sandbox", "info", "scratch") == failed


def test_text_from_outside_cannot_drive_the_terminal(api, good):
    api.on("GET", f"/api/sandboxes/sbx_{ID}", sandbox(api, message="\x1b]0;owned\x07\x1b[2J", env={"X": "\u202eevil"}))
    api.on("GET", "/api/hosts", {"items": []})
    shown = good("sandbox", "info", f"sbx_{ID}")
    assert "\x1b" not in shown and "\u202e" not in shown and "\\x1b]0;owned" in shown


# --- Errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status, code, exit_code", [
    (400, "invalid_argument", 2),
    (401, "unauthenticated", 3),
    (403, "permission_denied", 3),
    (404, "not_found", 4),
    (409, "already_exists", 5),
    (409, "failed_precondition", 5),
    (412, "aborted", 5),
    (500, "internal", 1),
    (501, "unimplemented", 1),
    (503, "unavailable", 6),
    (504, "deadline_exceeded", 6),
])
def test_exit_codes(api, run, status, code, exit_code):
    api.on("GET", "/api/whoami", api.problem(status, code, "Because."))
    done = run("whoami")
    assert done.returncode == exit_code
    assert done.stdout == "" and done.stderr.startswith("error: Because\n") and f"request: {REQUEST_ID}" in done.stderr
    done = run("whoami", "--output", "json")
    error = json.loads(done.stderr)["error"]
    assert error["code"] == code and error["exitCode"] == exit_code == done.returncode and error["requestId"] == REQUEST_ID


def test_server_that_is_not_there(tmp_path):
    env = {"GSTACKS_API_KEY": KEY, "GSTACKS_BASE_URL": f"http://127.0.0.1:{free_port()}"}
    done = gstacks("whoami", env=env)
    assert done.returncode == 6 and env["GSTACKS_BASE_URL"] in done.stderr and "fix: check that gstacks-server runs" in done.stderr
    assert gstacks("sandbox", "exec", "x", "--", "ls", env=env).returncode == 125


def test_server_that_never_answers(api, run):
    api.on("GET", "/api/whoami", lambda _: hold(3) or api.example("Identity"))
    started = time.monotonic()
    done = run("whoami", "--timeout", "300ms")
    assert done.returncode == 6 and "in time" in done.stderr and time.monotonic() - started < 2


@pytest.mark.parametrize("answer, exit_code", [
    (Raw(502, b"<h1>Bad Gateway</h1>"), 6),
    (Raw(200, b"<h1>Welcome to nginx</h1>"), 1),
    (Raw(200, b"{\"items\":", "application/json"), 1),
    (Raw(404, b"nothing here", "text/plain"), 4),
    (Raw(302, b"elsewhere"), 1),
])
def test_something_else_that_answers(api, run, answer, exit_code):
    api.on("GET", "/api/whoami", answer)
    done = run("whoami")
    assert done.returncode == exit_code and "fix: " in done.stderr and "<h1>" not in done.stderr


@pytest.mark.parametrize("reference, exit_code, named", [
    ("nope", 4, "there is no host with the name 'nope'"),
    ("Not_A_Name", 2, "neither the id nor the name"),
    (f"sbx_{ID}", 2, "neither the id nor the name"),  # of another kind
    ("../../etc", 2, "neither the id nor the name"),
])
def test_references_that_lead_nowhere(api, run, reference, exit_code, named):
    api.on("GET", "/api/hosts", {"items": [api.example("Host")]})
    done = run("host", "info", reference)
    assert done.returncode == exit_code and named in done.stderr and "gstacks host list" in done.stderr


def test_usage_errors_are_json_for_programs(run):
    done = run("sandbox", "list", "--nonsense", "--output", "json")
    assert done.returncode == 2 and "--nonsense" in json.loads(done.stderr)["error"]["message"]
    assert run().returncode == 2


def test_damaged_login_file(config, run):
    config.write_text("{")
    done = run("whoami")
    assert done.returncode == 2 and str(config) in done.stderr and "auth login" in done.stderr


def test_reader_that_goes_away_is_no_error(api, config):
    many = [api.example("Cluster", name=f"c{n}") for n in range(200)]
    page = {"items": many, "nextCursor": "next"}
    answers = [page] * 30 + [{"items": many}]
    api.on("GET", "/api/clusters", *answers)
    process = subprocess.Popen([find_binary("gstacks"), "--config-file", config, "cluster", "list"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    process.stdout.read(1)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(20) == -signal.SIGPIPE


def test_full_disk_under_standard_output_is_an_error(api, config):
    api.on("GET", "/api/clusters", {"items": [api.example("Cluster")]})
    with open("/dev/full", "wb") as full:
        done = subprocess.run([find_binary("gstacks"), "--config-file", config, "cluster", "list"], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1 and b"No space left" in done.stderr


def test_colour_only_on_a_terminal_and_only_when_wanted(api, config, good):
    api.on("GET", "/api/hosts", {"items": [api.example("Host")]})
    api.on("GET", "/api/clusters", {"items": [api.example("Cluster")]})
    words = ("--config-file", config, "host", "list")
    assert "\x1b[32mconnected\x1b[0m" in Terminal(*words).finish()
    for quiet in (Terminal(*words, "--no-color"), Terminal(*words, env={"NO_COLOR": "1"}), Terminal(*words, env={"TERM": "dumb"})):
        assert "\x1b" not in quiet.finish()
    assert "\x1b" not in good("host", "list")


# --- Help and completion -----------------------------------------------------------------------------------------------


def test_help_is_the_reference():
    done = gstacks("--help")
    assert done.returncode == 0 and "Exit codes:" in done.stdout and "GSTACKS_API_KEY" in done.stdout
    done = gstacks("sandbox", "exec", "--help")
    assert done.returncode == 0 and "125" in done.stdout and "Usage: gstacks sandbox exec SANDBOX" in done.stdout


@pytest.mark.parametrize("line, expected", [
    ("gstacks ", {"auth", "whoami", "host", "sandbox", "completion", "--output"}),
    ("gstacks sandbox ", {"create", "list", "info", "exec", "stop", "start", "delete"}),
    ("gstacks sandbox st", {"stop", "start"}),
    ("gstacks --output json sandbox st", {"stop", "start"}),
    ("gstacks sandbox create --bl", {"--blueprint"}),
    ("gstacks --output ", {"table", "json"}),
    ("gstacks sandbox list --state ru", {"running"}),
    ("gstacks sandbox create --name st", set()),  # a value of which nothing is known
    ("gstacks api-key create ci --role v", {"viewer"}),
])
def test_bash_completion(tmp_path, line, expected):
    script = tmp_path / "completion.bash"
    script.write_text(gstacks("completion", "bash").stdout)
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    done = subprocess.run(["bash", "-c", f"source {script}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _gstacks; "
                                         "printf '%s\\n' \"${COMPREPLY[@]}\""], capture_output=True, text=True)
    assert done.stderr == ""
    offered = set(done.stdout.split())
    assert expected <= offered and (expected or not offered), offered
    assert all(word.startswith(words[-1]) for word in offered)


# --- exec --------------------------------------------------------------------------------------------------------------

OPEN, STDIN, STDIN_EOF, SIGNAL = 0x00, 0x01, 0x02, 0x03
OPENED, STDOUT, STDERR, EXIT, ERROR = 0x10, 0x11, 0x12, 0x13, 0x14
SESSION = {"sessionId": f"ses_{ID}"}


def ends_with(ending, frames=()):
    """A session that runs, says this, and ends so."""
    def script(session):
        session.opened = session.receive_json(OPEN)
        session.send(OPENED, SESSION)
        for frame_type, payload in frames:
            session.send(frame_type, payload)
        session.send(EXIT, ending)
        session.close(1000)
        while session.receive() is not None:
            pass
    return script


def test_exec_asks_for_what_was_said(api, run):
    api.on_session(ends_with({"code": 0}))
    done = run("sandbox", "exec", "-e", "A=1", "--env", "B=x=y", "-w", "/srv", "-u", "nobody", "scratch", "--", "sh", "-c", "echo $A", "--", "-i")
    assert done.returncode == 0, done.stderr
    opened = api.sessions[0].opened
    assert not api.contract.faults({"$ref": "#/components/schemas/SessionOpen"}, opened)
    assert opened.pop("reattach") == {"client": ANY, "graceSeconds": 60}
    assert opened == {"kind": "exec", "sandboxId": "scratch", "argv": ["sh", "-c", "echo $A", "--", "-i"], "env": {"A": "1", "B": "x=y"},
                      "workingDir": "/srv", "user": "nobody", "waitMs": 30000}


def test_exec_keeps_the_streams_apart_and_every_byte(api, run):
    noise = bytes(range(256)) * 256
    api.on_session(ends_with({"code": 7}, [(STDOUT, noise), (STDERR, b"warn\x00\xff"), (STDOUT, b"\r\n")] + [(STDOUT, noise)] * 40))
    done = run("sandbox", "exec", "scratch", "--", "x", text=False)
    assert done.returncode == 7
    assert done.stdout == noise + b"\r\n" + noise * 40 and done.stderr == b"warn\x00\xff"


@pytest.mark.parametrize("ending, exit_code", [
    ({"code": 0}, 0), ({"code": 2}, 2), ({"code": 127}, 127), ({"code": 255}, 255),
    ({"signal": "KILL"}, 137), ({"signal": "TERM"}, 143), ({"signal": "SEGV"}, 139), ({"signal": "RTMIN+3"}, 165),
])
def test_exec_exit_codes(api, run, ending, exit_code):
    api.on_session(ends_with(ending))
    assert run("sandbox", "exec", "scratch", "--", "x").returncode == exit_code


@pytest.mark.parametrize("status, code", [(404, "not_found"), (409, "failed_precondition"), (503, "unavailable"), (400, "invalid_argument")])
def test_exec_that_cannot_be_done_is_125(api, run, status, code):
    def script(session):
        session.receive_json(OPEN)
        session.send(ERROR, api.problem(status, code, "The sandbox is stopped.", fix="Start it."))
        session.close(4000 + status, "The sandbox is stopped.")
        while session.receive() is not None:
            pass

    api.on_session(script)
    done = run("sandbox", "exec", "scratch", "--", "x")
    assert done.returncode == 125
    assert done.stderr == f"error: The sandbox is stopped\nfix: Start it.\nrequest: {REQUEST_ID}\n"
    done = run("sandbox", "exec", "scratch", "--output", "json", "--", "x")
    assert json.loads(done.stderr)["error"] == {"code": code, "message": "The sandbox is stopped", "fix": "Start it.",
                                                "exitCode": 125, "requestId": REQUEST_ID}


def test_exec_upgrade_that_is_refused_is_explained(api, run):
    api.on("GET", "/api/sessions", api.problem(403, "permission_denied", "The role is too low.", fix="Ask an admin."))
    done = run("sandbox", "exec", "scratch", "--", "x")
    assert done.returncode == 125 and "error: The role is too low\nfix: Ask an admin." in done.stderr


@pytest.mark.parametrize("end, named", [
    (lambda s: s.close(4503, "host disconnected"), "host disconnected"),
    (lambda s: s.close(1001), "the server is stopping"),
    (lambda s: s.drop(), "cut"),
    (lambda s: s.send(0x55, b"x"), "protocol"),
])
def test_exec_connection_that_is_lost_is_125(api, run, end, named):
    def script(session):
        session.receive_json(OPEN)
        session.send(OPENED, SESSION)
        session.send(STDOUT, b"half")
        end(session)
        while session.receive() is not None:
            pass

    api.on_session(script)
    done = run("sandbox", "exec", "scratch", "--", "x")
    assert done.returncode == 125 and done.stdout == "half" and named in done.stderr


def echo(session):
    """What `cat` would do: gives the input back, then what ended it."""
    session.receive_json(OPEN)
    session.send(OPENED, SESSION)
    while True:
        frame = session.receive()
        if frame is None:
            return
        if frame[0] == STDIN_EOF:
            session.send(EXIT, {"code": 0})
            session.close(1000)
        elif frame[0] == STDIN:
            session.send(STDOUT, frame[1])


def test_exec_without_i_gives_the_program_an_empty_input(api, run):
    api.on_session(echo)
    done = run("sandbox", "exec", "scratch", "--", "cat", stdin="not for you")
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("kind", ["pipe", "file", "null", "closed"])
def test_exec_passes_input_of_every_kind(api, config, tmp_path, kind):
    data = os.urandom(1_500_000) if kind in ("pipe", "file") else b""
    (tmp_path / "input").write_bytes(data)
    api.on_session(echo)
    words = [find_binary("gstacks"), "--config-file", config, "sandbox", "exec", "-i", "scratch", "--", "cat"]
    if kind == "pipe":
        done = subprocess.run(words, input=data, capture_output=True, timeout=60)
    elif kind == "closed":
        done = subprocess.run(["sh", "-c", 'exec "$@" <&-', "sh", *words], capture_output=True, timeout=60)
    else:
        with open(tmp_path / "input" if kind == "file" else "/dev/null", "rb") as stdin:
            done = subprocess.run(words, stdin=stdin, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == data


def test_exec_ends_although_input_is_still_open(api, config):
    api.on_session(ends_with({"code": 3}))
    process = subprocess.Popen([find_binary("gstacks"), "--config-file", config, "sandbox", "exec", "-i", "scratch", "--", "true"],
                               stdin=subprocess.PIPE)
    assert process.wait(10) == 3
    process.stdin.close()


def test_exec_leaves_the_shells_input_blocking(api, config):
    """Making it non-blocking would do so for everyone who shares it."""
    api.on_session(echo)
    read_end, write_end = os.pipe()
    process = subprocess.Popen([find_binary("gstacks"), "--config-file", config, "sandbox", "exec", "-i", "scratch", "--", "cat"],
                               stdin=read_end, stdout=subprocess.PIPE)
    os.write(write_end, b"hello\n")
    assert process.stdout.readline() == b"hello\n"
    assert os.get_blocking(read_end)
    os.close(write_end)
    assert process.wait(10) == 0
    os.close(read_end)


def test_exec_slow_reader_slows_the_program_and_loses_nothing(api, config):
    sent = []
    total = 600

    def script(session):
        session.receive_json(OPEN)
        session.send(OPENED, SESSION)
        for number in range(total):
            session.send(STDOUT, number.to_bytes(4, "big") * 16384)
            sent.append(number)
        session.send(EXIT, {"code": 0})
        session.close(1000)
        while session.receive() is not None:
            pass

    api.on_session(script)
    process = subprocess.Popen([find_binary("gstacks"), "--config-file", config, "sandbox", "exec", "scratch", "--", "yes"],
                               stdout=subprocess.PIPE)
    process.stdout.read(65536)
    wait_until(lambda: settled(sent), 20, "the program standing still")
    assert len(sent) < total, "it could send everything although nobody reads"
    rss = int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{process.pid}/status").read()).group(1))
    assert rss < 64 * 1024, f"{rss} KiB"
    rest = process.stdout.read()
    assert process.wait(10) == 0
    assert len(rest) == (total - 1) * 65536 and rest[-4:] == (total - 1).to_bytes(4, "big")


def settled(items, seconds=0.5):
    before = len(items)
    hold(seconds)  # that nothing more comes, only time can tell
    return before == len(items) and before > 0


@pytest.mark.parametrize("number, name", [(signal.SIGINT, "INT"), (signal.SIGTERM, "TERM")])
def test_exec_passes_signals_on_and_the_second_one_ends_it(api, config, number, name):
    seen, opened = [], threading.Event()

    def script(session):
        session.receive_json(OPEN)
        session.send(OPENED, SESSION)
        session.send(STDOUT, b"up\n")
        opened.set()
        while (frame := session.receive()) is not None:
            if frame[0] == SIGNAL:
                seen.append(json.loads(frame[1]))
        seen.append("gone")

    api.on_session(script)
    process = subprocess.Popen([find_binary("gstacks"), "--config-file", config, "sandbox", "exec", "scratch", "--", "x"],
                               stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"up\n"
    process.send_signal(number)
    wait_until(lambda: seen == [{"signal": name}], 10, "the signal")
    assert process.poll() is None
    process.send_signal(number)
    assert process.wait(10) == 128 + number
    wait_until(lambda: seen[-1] == "gone", 10, "the connection's end")


def take_interrupts():
    """A shell's background job, and so all that this runs in one, is made to ignore them; a program keeps it that way."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_exec_interrupt_before_the_program_runs_just_ends(api, config):
    waiting = threading.Event()

    def script(session):
        session.receive_json(OPEN)
        waiting.set()
        while session.receive() is not None:
            pass

    api.on_session(script)
    process = subprocess.Popen([find_binary("gstacks"), "--config-file", config, "sandbox", "exec", "scratch", "--", "x"],
                               preexec_fn=take_interrupts)
    assert waiting.wait(10)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == -signal.SIGINT


def test_exec_signal_gets_through_while_the_output_is_blocked(api, config):
    seen = []

    def flood(session):
        try:
            for _ in range(400):
                session.send(STDOUT, b"x" * 65536)
        except OSError:
            pass  # the session was over first

    def script(session):
        session.receive_json(OPEN)
        session.send(OPENED, SESSION)
        threading.Thread(target=flood, args=(session,), daemon=True).start()
        while (frame := session.receive()) is not None:
            seen.append(frame)

    api.on_session(script)
    process = subprocess.Popen([find_binary("gstacks"), "--config-file", config, "sandbox", "exec", "scratch", "--", "x"],
                               stdout=subprocess.PIPE)
    process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    wait_until(lambda: any(frame[0] == SIGNAL for frame in seen), 10, "the signal")
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
    process.stdout.close()


def test_exec_reader_that_goes_away_hangs_the_program_up(api, config):
    gone = threading.Event()

    def script(session):
        session.receive_json(OPEN)
        session.send(OPENED, SESSION)
        try:
            while True:
                session.send(STDOUT, b"y\n" * 1000)
        except OSError:
            gone.set()

    api.on_session(script)
    process = subprocess.Popen([find_binary("gstacks"), "--config-file", config, "sandbox", "exec", "scratch", "--", "yes"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.read(10)
    process.stdout.close()
    assert process.wait(10) == -signal.SIGPIPE and process.stderr.read() == b""
    assert gone.wait(10)


def test_exec_arguments_that_cannot_be_sent(api, run):
    done = run("sandbox", "exec", "scratch", "--", b"\xff\xfe".decode(errors="surrogateescape"))
    assert done.returncode == 125 and "UTF-8" in done.stderr
    done = run("sandbox", "exec", "scratch", "--", "x" * 70000)
    assert done.returncode == 125 and "too long" in done.stderr and "-i" in done.stderr


# --- Events --------------------------------------------------------------------------------------------------------------


def event(api, sequence, **members):
    return api.example("SandboxEvent", sequence=sequence, **members)


def stream_of(*events):
    lines = "".join(f"id: {each['sequence']}\nevent: sandbox\ndata: {json.dumps(each)}\n\n" for each in events)
    return Raw(200, f"retry: 1\nid: 0\n\n: hello\n\n{lines}".encode(), "text/event-stream")


def test_events_show_what_is_kept_of_a_sandbox_page_by_page(api, good, good_json, run):
    path = f"/api/sandboxes/sbx_{ID}/events"
    pages = [{"items": [event(api, 4), event(api, 5, kind="deleted", state="deleted", reason=None)], "prunedThrough": 3}, {"items": []}]
    api.on("GET", path, *pages, *pages, *pages)
    assert [each["sequence"] for each in good_json("sandbox", "events", f"sbx_{ID}")["items"]] == [4, 5]
    assert [request.query["after"] for request in api.asked("GET", path)] == ["0", "5"]
    table = good("sandbox", "events", f"sbx_{ID}")
    assert "workload_exited" in table and "deleted" in table and table.splitlines()[0].split()[:3] == ["SEQUENCE", "TIME", "NAME"]
    done = run("sandbox", "events", f"sbx_{ID}", "--after", "1")
    assert "events up to 3 are no longer kept" in done.stderr
    assert run("sandbox", "events").returncode == 2
    assert run("sandbox", "events", f"sbx_{ID}", "--after", "x").returncode == 2


def test_following_goes_on_where_it_was_cut_off_and_ends_with_the_sandbox(api, good):
    last = event(api, 12, kind="deleted", state="deleted", reason=None, message=None, exit=None)
    broken = stream_of(event(api, 7), event(api, 9))
    broken.body += b'id: 10\nevent: sandbox\ndata: {"sequence"'
    api.on("GET", "/api/events", broken, api.problem(503, "unavailable", "Stopping."), stream_of(),
           Raw(200, b'id: 11\nevent: gap\ndata: {"after": 9, "through": 11}\n\n', "text/event-stream"), stream_of(last))
    lines = [json.loads(line) for line in good("-o", "json", "sandbox", "events", f"sbx_{ID}", "-f").splitlines()]
    assert [line.get("sequence") or line["gap"] for line in lines] == [7, 9, {"after": 9, "through": 11}, 12]
    asked = api.asked("GET", "/api/events")
    assert asked[0].query == {"sandboxId": f"sbx_{ID}", "after": "0"} and "last-event-id" not in asked[0].headers
    assert [request.headers.get("last-event-id") for request in asked[1:]] == ["9", "9", "0", "11"]


def test_following_all_begins_now_and_stops_where_asking_again_is_no_use(api, run):
    api.on("GET", "/api/events", stream_of(event(api, 7)), api.problem(401, "unauthenticated"))
    done = run("sandbox", "events", "--follow")
    assert done.returncode == 3
    assert done.stdout.split()[:1] == ["7"] and "workload_exited" in done.stdout
    assert api.asked("GET", "/api/events")[0].query == {}


def test_a_creation_whose_answer_was_lost_is_asked_for_once_more_with_the_same_key(api, run):
    def lost(_):
        raise ConnectionAbortedError("no answer")

    api.on("POST", "/api/sandboxes", lost, sandbox(api))
    assert run("sandbox", "create", "--blueprint", "b", "--no-wait").returncode == 0
    first, second = api.asked("POST", "/api/sandboxes")
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"] and first.body == second.body
    api.on("POST", "/api/sandboxes", api.problem(503, "unavailable", "Stopping."))
    assert run("sandbox", "create", "--blueprint", "b", "--no-wait").returncode == 6
    assert len(api.asked("POST", "/api/sandboxes")) == 3, "an answer is an answer"
    assert api.asked("POST", "/api/sandboxes")[2].headers["idempotency-key"] != first.headers["idempotency-key"]


# --- Waiting for a host --------------------------------------------------------------------------------------------------


def test_create_may_wait_for_a_host_and_info_says_why_it_still_does(api, good, run):
    placement = api.example("Placement", hostId=None, fittingCount=0, fix="enroll another host",
                            hosts=[{"hostId": f"hst_{ID}", "name": "rack", "fits": False, "reason": "no_memory", "detail": "full up"}])
    waits = sandbox(api, state="requested", reason="no_host_fits", hostId=None)
    api.on("POST", "/api/sandboxes", waits)
    assert run("sandbox", "create", "--blueprint", "b", "--wait-for-host", "--no-wait").returncode == 0
    assert api.asked("POST", "/api/sandboxes")[0].json == {"blueprint": "b", "waitForHost": True}
    api.on("GET", "/api/sandboxes", {"items": [waits]})
    api.on("GET", "/api/hosts", {"items": []})
    api.on("GET", f"/api/sandboxes/sbx_{ID}", {**waits, "placement": placement})
    shown = good("sandbox", "info", waits["name"])
    assert "rack: full up" in shown and "enroll another host" in shown
