#!/usr/bin/python3
"""Checks openapi.yaml: is it a contract that a stranger, and the server's validator, can work from?

Needs Debian's python3-yaml and python3-jsonschema only. Prints each failure, then "N passed, N failed" as the last
line; the exit code is 1 when anything failed. It does not talk to a server: that is the contract test's part.
"""
import copy
import pathlib
import re
import sys

import yaml
from jsonschema import Draft7Validator, Draft202012Validator, FormatChecker, RefResolver

SPEC = pathlib.Path(__file__).with_name("openapi.yaml")
METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")
OPERATIONS = set("""
getHealth getVersion whoami getOpenApi
listClusters createCluster getCluster updateCluster deleteCluster
listHosts getHost updateHost drainHost deleteHost listAdoptable adoptSandbox confirmDeletions rejectDeletions explainPlacement
listTokens createToken getToken revokeToken listApiKeys createApiKey revokeApiKey
listBlueprints createBlueprint getBlueprint deleteBlueprint
listSandboxes createSandbox getSandbox listSandboxEvents streamEvents streamSandboxLogs setSandboxLifetime startSandbox stopSandbox
reprovisionSandbox archiveSandbox restoreSandbox deleteSandbox openSession listSessions closeSession createAttachTicket listAudit
readFile writeFile removeFile statFile listFiles makeDirectory readFileTree writeFileTree
""".split())
REASONS = """pending_placement no_host_fits provisioning blueprint_unavailable blueprint_damaged runtime_unavailable runtime_error
guest_lost reprovisioning archive_requested archiving archive_failed workload_exited workload_start_failed oom_killed stopped_by_user stop_requested deletion_requested deletion_held deletion_rejected host_disconnected host_removed spec_rejected
disk_full restart_backoff restarting idle_stopped expired
host_disconnected_stop host_reconnected""".split()
SOURCES = SPEC.parent.parent / "src"
# How reasons of sandboxes are made, by agents and by the server; and what looks like one there and is none.
REASON_SOURCES = {
    r"\.reason = [^;]*;|doingSaying\([^;]*;|withReason\([^;]*;": ["agent/core/*.cc"],
    r"\.reason = [^;]*;|return [^;]*;": ["server/core/sandbox_view.cc"],
    r"\b(?:s|record|draft|observed|next)\.reason = [^;]*;": ["agent/sandboxes/*.cc", "server/store/*.cc", "server/sandboxes/*.cc"],
}
NO_REASONS = ("stale_generation",)  # why a message was refused, not why a sandbox is as it is
# What the server's draft-7 validator compiles. `format` is missing on purpose: that validator reads it as a string
# check even where the value is a number, and throws. The last row are notes for people, which it ignores.
REQUEST_KEYWORDS = set("""
type enum const pattern minLength maxLength minimum maximum items minItems maxItems uniqueItems minProperties
maxProperties properties required additionalProperties propertyNames oneOf allOf anyOf $ref default
description
""".split())
# Payloads of session frames that the client sends: validated like request bodies, though no operation refers to them.
CLIENT_FRAMES = ("SessionOpen", "SessionSignal", "TerminalSize", "SessionOffset", "SessionDeparture")
SERVER_FRAMES = ("SessionOpened", "SessionExit", "EventGap", "LogOutput")

# Answers that are no JSON.
STREAMS = (("streamEvents", "text/event-stream"), ("streamSandboxLogs", "text/event-stream"), ("readFile", "application/octet-stream"), ("readFileTree", "application/x-tar"))

ID = "0123456789abcdefghjk"
# Instances that must be refused or accepted by a request schema, each with the reason why that matters.
SAMPLES = [
    ("CreateClusterRequest", False, {"name": "a", "kind": "byo", "colour": "red"}, "unknown members are refused"),
    ("CreateClusterRequest", False, {"name": "Upper", "kind": "byo"}, "names are lowercase"),
    ("CreateClusterRequest", False, {"name": "a" * 64, "kind": "byo"}, "names end at 63"),
    ("CreateClusterRequest", False, {"name": "-a", "kind": "byo"}, "no hyphen at an end"),
    ("CreateClusterRequest", False, {"name": "a", "kind": "cloud"}, "kinds are closed"),
    ("CreateClusterRequest", False, {"name": "a", "kind": None}, "null is not absence"),
    ("CreateClusterRequest", True, {"name": "a" * 63, "kind": "managed"}, "all members, longest name"),
    ("UpdateHostRequest", False, {}, "an update changes something"),
    ("UpdateHostRequest", False, {"tags": {"Bad Key": "x"}}, "tag keys have a form"),
    ("UpdateHostRequest", False, {"tags": {"k": "v" * 129}}, "tag values have a limit"),
    ("UpdateHostRequest", False, {"tags": {f"k{i}": "" for i in range(65)}}, "so has their number"),
    ("UpdateHostRequest", True, {"tags": {}}, "no tags at all is a choice"),
    ("CreateSandboxRequest", False, {"blueprint": "b", "restart": {}}, "a policy says what it is"),
    ("CreateSandboxRequest", False, {"blueprint": "b", "restart": {"mode": "on-failure"}}, "modes are closed"),
    ("CreateSandboxRequest", False, {"blueprint": "b", "restart": {"mode": "always", "maxRestarts": 1000001}}, "their number has a limit"),
    ("CreateSandboxRequest", True, {"blueprint": "b", "restart": {"mode": "always", "maxRestarts": 0}}, "no limit"),
    ("CreateSandboxRequest", False, {"blueprint": "b", "onDisconnect": {}}, "keeping is absence"),
    ("CreateSandboxRequest", False, {"blueprint": "b", "onDisconnect": {"stopAfterSeconds": 9}}, "before a loss is certain"),
    ("CreateSandboxRequest", False, {"blueprint": "b", "ttlSeconds": 59}, "too short to be noticed"),
    ("CreateSandboxRequest", False, {"blueprint": "b", "idleStopSeconds": 31536001}, "a year at most"),
    ("SetSandboxLifetimeRequest", False, {}, "a change changes something"),
    ("SetSandboxLifetimeRequest", False, {"ttlSeconds": 1}, "never, or a minute at least"),
    ("SetSandboxLifetimeRequest", True, {"ttlSeconds": 0, "idleStopSeconds": 60}, "never, and the least"),
    ("CreateTokenRequest", False, {"clusterId": "clu_" + ID, "maxUses": 0}, "a token for nobody"),
    ("CreateTokenRequest", False, {"clusterId": "clu_" + ID, "maxUses": 1001}, "too many uses"),
    ("CreateTokenRequest", False, {"clusterId": "clu_" + ID, "expiresInSeconds": 59}, "too short"),
    ("CreateTokenRequest", False, {"clusterId": "clu_" + ID, "expiresInSeconds": 2592001}, "too long"),
    ("CreateTokenRequest", False, {"clusterId": "hst_" + ID}, "an id of another kind"),
    ("CreateTokenRequest", False, {"clusterId": "clu_0123456789abcdefghji"}, "i is no Crockford digit"),
    ("CreateTokenRequest", True, {"clusterId": "clu_" + ID}, "the rest has defaults"),
    ("CreateApiKeyRequest", False, {"name": "a", "role": "owner"}, "roles are closed"),
    ("CreateApiKeyRequest", True, {"name": "a"}, "the role has a default"),
    ("CreateSandboxRequest", False, {}, "a blueprint is needed"),
    ("CreateSandboxRequest", False, {"blueprint": "../etc"}, "no paths"),
    ("CreateSandboxRequest", False, {"blueprint": "sha256:" + "0" * 63}, "a digest is whole"),
    ("CreateSandboxRequest", True, {"blueprint": "sha256:" + "0" * 64}, "by digest"),
    ("CreateSandboxRequest", True, {"blueprint": "bpt_" + ID}, "by id"),
    ("CreateSandboxRequest", True, {"blueprint": "a", "runtime": "sbx"}, "known, and refused by the service"),
    ("CreateSandboxRequest", False, {"blueprint": "a", "runtime": "podman"}, "not a runtime"),
    ("CreateSandboxRequest", False, {"blueprint": "a", "command": []}, "a command has a program"),
    ("CreateSandboxRequest", False, {"blueprint": "a", "command": "ls -l"}, "no shell line"),
    ("CreateSandboxRequest", False, {"blueprint": "a", "env": {"A=B": "c"}}, "no = in names"),
    ("CreateSandboxRequest", False, {"blueprint": "a", "env": {"A": 1}}, "values are text"),
    ("CreateSandboxRequest", False, {"blueprint": "a", "workingDir": "tmp"}, "paths are absolute"),
    ("CreateSandboxRequest", False, {"blueprint": "a", "user": "a:b:c"}, "one group"),
    ("CreateSandboxRequest", False, {"blueprint": "a", "resources": {"pids": 15}}, "too few processes"),
    ("CreateSandboxRequest", False, {"blueprint": "a", "resources": {"memoryBytes": 16777215}}, "too little memory"),
    ("CreateSandboxRequest", False, {"blueprint": "a", "resources": {"cpuMillis": 1.5}}, "whole numbers"),
    ("CreateSandboxRequest", True, {"blueprint": "a", "waitForHost": True}, "it may wait"),
    ("CreateSandboxRequest", False, {"blueprint": "a", "waitForHost": "yes"}, "yes is no boolean"),
    ("CreateSandboxRequest", False, {"blueprint": "a", "requiredTraits": ["kvm", "kvm"]}, "each trait once"),
    ("AdoptSandboxRequest", True, {}, "its own name"),
    ("AdoptSandboxRequest", False, {"name": "Box 7"}, "names have a form"),
    ("ConfirmDeletionsRequest", False, {}, "a set is named"),
    ("ConfirmDeletionsRequest", False, {"fence": "all"}, "and never all of them"),
    ("ConfirmDeletionsRequest", True, {"fence": "0123456789abcdef" * 2}, "as it is shown"),
    ("StopSandboxRequest", True, {}, "the grace has a default"),
    ("StopSandboxRequest", False, {"graceMs": 600001}, "too patient"),
    ("StopSandboxRequest", False, {"graceMs": -1}, "no negative time"),
    ("SessionOpen", False, {"kind": "shell", "sandboxId": "a", "argv": ["x"]}, "kinds are closed"),
    ("SessionOpen", False, {"kind": "exec", "sandboxId": "a"}, "nothing to run"),
    ("SessionOpen", False, {"kind": "exec", "sandboxId": "a", "argv": ["x"], "waitMs": 60001}, "too patient"),
    ("SessionOpen", True, {"kind": "exec", "sandboxId": "sbx_" + ID, "argv": ["sh", "-c", ""]}, "by id"),
    ("SessionOpen", True, {"kind": "exec", "sandboxId": "a", "terminal": {"rows": 24, "columns": 80}}, "a login shell"),
    ("SessionOpen", False, {"kind": "exec", "sandboxId": "a", "terminal": {"rows": 0, "columns": 80}}, "no rows"),
    ("TerminalSize", False, {"rows": 24}, "half a size"),
    ("TerminalSize", True, {"rows": 1, "columns": 10000}, "the limits"),
    ("SessionOpen", True, {"kind": "exec", "sandboxId": "a-1", "argv": ["x"], "env": {"A": ""}, "workingDir": "/",
                           "user": "0:0", "waitMs": 60000}, "by name, all members"),
    ("SessionSignal", True, {"signal": "TERM"}, "plain name"),
    ("SessionSignal", False, {"signal": "SIGTERM"}, "no SIG"),
    ("SessionOpen", True, {"kind": "exec", "sandboxId": "box", "argv": ["a"], "reattach": {"graceSeconds": 0}}, "kept"),
    ("SessionOpen", False, {"kind": "exec", "sandboxId": "box", "argv": ["a"], "reattach": {"graceSeconds": 3601}}, "too long"),
    ("SessionOpen", True, {"kind": "attach", "sandboxId": "box", "sessionId": "ses_" + "0" * 20, "mode": "view"}, "joins"),
    ("SessionOpen", False, {"kind": "attach", "sandboxId": "box", "sessionId": "ses_" + "0" * 20, "argv": ["a"]}, "runs nothing"),
    ("SessionOpen", False, {"kind": "attach", "sandboxId": "box"}, "which"),
    ("SessionOffset", False, {"offset": -1}, "from 0 on"),
    ("SessionDeparture", False, {"how": "slowly"}, "two ways"),
    ("SessionExit", True, {"code": 255}, "by itself"),
    ("SessionExit", True, {"signal": "SEGV"}, "by signal"),
    ("SessionExit", False, {}, "some end there was"),
    ("SessionExit", False, {"code": 0, "signal": "KILL"}, "not both"),
    ("WaitForStates", True, ["running", "failed"], "two states"),
    ("WaitForStates", False, ["running", "running"], "each once"),
    ("PageLimit", False, 0, "an empty page"),
    ("PageLimit", False, 201, "too long a page"),
    ("FilePathText", False, "etc/passwd", "paths are absolute"),
    ("FilePathText", True, "/new\nline", "any name"),
    ("FileMode", False, "0888", "octal"),
    ("FileMode", False, "17777", "too many digits"),
    ("FileTime", True, "2026-01-02T03:04:05Z", "no fraction"),
    ("FileTime", False, "2026-01-02T03:04:05+01:00", "UTC"),
    ("FileUploadName", False, "../x", "no path"),
    ("VersionTag", True, '"12"', "a version in quotes"),
    ("VersionTag", False, "12", "without quotes"),
    ("VersionTag", False, 'W/"12"', "weak"),
    ("ContentDigest", False, "sha-512=:" + "A" * 43 + "=:", "another algorithm"),
]


class Tally:
    """Counts one result a section, however many single checks it makes: thousands of them would drown the other tiers."""

    def __init__(self):
        self.sections = {}
        self.section = None

    def begin(self, section):
        self.section = section
        self.sections[section] = [0, 0]

    def check(self, good, what):
        self.sections[self.section][0 if good else 1] += 1
        if not good:
            print(f"FAILED {what}")

    @property
    def failed(self):
        # A section that checked nothing has failed too.
        return sum(1 for good, bad in self.sections.values() if bad or not good)

    @property
    def passed(self):
        return len(self.sections) - self.failed


class UniqueKeyLoader(yaml.SafeLoader):
    """A key that stands twice in a mapping hides the first one silently; here it is an error."""


def uniqueMapping(loader, node):
    seen = set()
    for keyNode, _ in node.value:
        if keyNode.value in seen:
            raise yaml.YAMLError(f"key {keyNode.value!r} twice{keyNode.start_mark}")
        seen.add(keyNode.value)
    return loader.construct_mapping(node, deep=True)


UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, uniqueMapping)


def lookUp(doc, ref):
    node = doc
    for part in ref[2:].split("/"):
        node = node[part.replace("~1", "/").replace("~0", "~")]
    return node


def follow(doc, node):
    while isinstance(node, dict) and "$ref" in node:
        node = lookUp(doc, node["$ref"])
    return node


def walk(node, path="#"):
    yield path, node
    if isinstance(node, dict):
        for key, value in node.items():
            yield from walk(value, f"{path}/{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from walk(value, f"{path}/{index}")


def subschemas(schema, path):
    """The schema and all schemas inside it; references are not followed."""
    yield path, schema
    for key in ("properties",):
        for name, sub in schema.get(key, {}).items():
            yield from subschemas(sub, f"{path}/{key}/{name}")
    for key in ("items", "additionalProperties", "propertyNames", "not"):
        if isinstance(schema.get(key), dict):
            yield from subschemas(schema[key], f"{path}/{key}")
    for key in ("oneOf", "anyOf", "allOf"):
        for index, sub in enumerate(schema.get(key, [])):
            yield from subschemas(sub, f"{path}/{key}/{index}")


def operations(doc):
    for path, item in doc["paths"].items():
        shared = item.get("parameters", [])
        for method in METHODS:
            if method in item:
                operation = item[method]
                yield path, method, operation, [follow(doc, p) for p in shared + operation.get("parameters", [])]


def validator(doc, schema, draft):
    return draft(schema, resolver=RefResolver("", doc), format_checker=FormatChecker())


def checkReferences(t, doc):
    used = set()
    for path, node in walk(doc):
        if isinstance(node, dict) and isinstance(node.get("$ref"), str):
            ref = node["$ref"]
            used.add(ref)
            try:
                lookUp(doc, ref)
                t.check(ref.startswith("#/components/"), f"{path}: {ref} points out of components")
            except KeyError:
                t.check(False, f"{path}: {ref} does not resolve")
    for kind, entries in doc["components"].items():
        if kind == "securitySchemes":
            continue
        for name in entries:
            frame = kind == "schemas" and name in CLIENT_FRAMES + SERVER_FRAMES
            t.check(frame or f"#/components/{kind}/{name}" in used, f"components/{kind}/{name} is used by nothing")


def checkLimits(t, path, s):
    kind = s.get("type")
    if kind == "string":
        t.check(any(k in s for k in ("maxLength", "enum", "const", "pattern")), f"{path}: string without a limit")
    if kind == "array":
        t.check("maxItems" in s and "items" in s, f"{path}: array without items or maxItems")
    if kind in ("integer", "number"):
        t.check("minimum" in s and "maximum" in s, f"{path}: number without minimum and maximum")
    if kind == "object" and "properties" not in s and "allOf" not in s:
        t.check("maxProperties" in s, f"{path}: map without maxProperties")


def checkSchemas(t, doc, requestNames):
    for name, schema in doc["components"]["schemas"].items():
        root = f"#/components/schemas/{name}"
        try:
            Draft202012Validator.check_schema(schema)
            t.check(True, root)
        except Exception as error:  # the library has several kinds
            t.check(False, f"{root}: no valid schema: {error}")
        for path, s in subschemas(schema, root):
            t.check("description" in s or "$ref" in s, f"{path}: no description")
            t.check("nullable" not in s and "null" not in str(s.get("type")), f"{path}: null instead of absence")
            t.check(set(s) <= {"$ref", "description"} if "$ref" in s else True, f"{path}: $ref with siblings that matter")
            checkLimits(t, path, s)
        if schema.get("type") == "object" and "properties" in schema and name not in requestNames:
            t.check("required" in schema or "oneOf" in schema, f"{root}: response without required")
        for member in schema.get("required", []):
            inherited = [follow(doc, sub) for sub in schema.get("allOf", [])]
            known = any(member in s.get("properties", {}) for s in [schema] + inherited)
            t.check(known, f"{root}: requires {member}, which it does not have")
        for index, example in enumerate(schema.get("examples", [])):
            checkExample(t, doc, {"$ref": root}, example, f"{root}/examples/{index}")


def requestClosure(doc):
    """Names of all component schemas that parameters, request bodies and client frames reach."""
    todo = [f"#/components/schemas/{name}" for name in CLIENT_FRAMES]
    for _, _, operation, parameters in operations(doc):
        roots = [p["schema"] for p in parameters]
        roots += [m["schema"] for m in operation.get("requestBody", {}).get("content", {}).values() if "schema" in m]
        todo += [s["$ref"] for s in roots if "$ref" in s]
    names = set()
    while todo:
        ref = todo.pop()
        name = ref.rsplit("/", 1)[1]
        if name not in names:
            names.add(name)
            todo += [n["$ref"] for _, n in walk(lookUp(doc, ref)) if isinstance(n, dict) and "$ref" in n]
    return names


def boundedPattern(pattern):
    """Anchored, and no repetition without an upper bound: the server's regex engine recurses for each character."""
    outside = re.sub(r"\\.|\[[^\]]*\]", "x", pattern)
    return pattern.startswith("^") and not re.search(r"[*+]|\{\d+,\}", outside) and (
        pattern.endswith("$") or "x" not in outside)


def checkRequestSchemas(t, doc, names):
    for name in sorted(names):
        schema = doc["components"]["schemas"][name]
        root = f"#/components/schemas/{name}"
        try:
            Draft7Validator.check_schema(schema)
            t.check(True, root)
        except Exception as error:
            t.check(False, f"{root}: no valid draft-7 schema: {error}")
        for path, s in subschemas(schema, root):
            extra = set(s) - REQUEST_KEYWORDS
            t.check(not extra, f"{path}: keywords that requests may not use: {sorted(extra)}")
            if "properties" in s:
                t.check(s.get("additionalProperties") is False, f"{path}: unknown members would be accepted")
            if "pattern" in s:
                t.check(boundedPattern(s["pattern"]), f"{path}: pattern is not anchored and bounded")


def checkOperations(t, doc):
    seen = []
    for path, method, op, parameters in operations(doc):
        name = op.get("operationId", f"{method} {path}")
        seen.append(name)
        t.check(op.get("summary") and op.get("description"), f"{name}: no summary or description")
        t.check(len(op.get("tags", [])) == 1, f"{name}: not exactly one tag")
        t.check(all(tag in [d["name"] for d in doc["tags"]] for tag in op.get("tags", [])), f"{name}: unknown tag")
        role = op.get("x-gs-role")
        t.check(role in ("none", "viewer", "member", "admin"), f"{name}: x-gs-role {role!r}")
        t.check((role == "none") == (op.get("security") == []), f"{name}: x-gs-role and security disagree")
        responses = op["responses"]
        t.check("default" in responses, f"{name}: no default response")
        t.check(role == "none" or "401" in responses, f"{name}: no 401")
        t.check(role in ("none", "viewer") or "403" in responses, f"{name}: no 403")
        inPath = {p["name"] for p in parameters if p["in"] == "path"}
        t.check(inPath == set(re.findall(r"\{(\w+)\}", path)), f"{name}: path parameters do not match {path}")
        t.check(not inPath or "404" in responses, f"{name}: no 404")
        t.check("X-Request-Id" in [p["name"] for p in parameters], f"{name}: takes no X-Request-Id")
        ifMatch = "If-Match" in [p["name"] for p in parameters]
        t.check((method == "patch") == ifMatch == ({"412", "428"} <= set(responses)), f"{name}: If-Match, 412, 428")
        t.check(len({(p["in"], p["name"]) for p in parameters}) == len(parameters), f"{name}: a parameter twice")
        for p in parameters:
            where = f"{name}: parameter {p['name']}"
            t.check("description" in p, f"{where}: no description")
            t.check(set(p["schema"]) == {"$ref"}, f"{where}: schema is not in components")
            t.check(p["in"] != "path" or p.get("required") is True, f"{where}: path parameter that is not required")
            if "example" in p:
                checkExample(t, doc, p["schema"], p["example"], where)
        checkBody(t, doc, name, op)
        for status, response in responses.items():
            checkResponse(t, doc, f"{name} {status}", status, follow(doc, response))
    t.check(len(seen) == len(set(seen)), "an operationId twice")
    t.check(set(seen) == OPERATIONS, f"operations differ: {sorted(set(seen) ^ OPERATIONS)}")


def checkBody(t, doc, name, op):
    body = op.get("requestBody")
    t.check(bool(body) == ("x-gs-max-body-bytes" in op), f"{name}: body and x-gs-max-body-bytes disagree")
    if not body:
        return
    t.check("description" in body and "required" in body, f"{name}: body without description or required")
    for kind, media in body["content"].items():
        if kind != "application/json":
            t.check(kind == "application/x-tar" or (kind, name) == ("application/octet-stream", "writeFile"), f"{name}: media type {kind}")
            continue
        t.check(set(media.get("schema", {})) == {"$ref"}, f"{name}: body schema is not in components")
        t.check(media.get("examples"), f"{name}: body without an example")
        for key, example in media.get("examples", {}).items():
            checkExample(t, doc, media["schema"], example["value"], f"{name}: example {key}", draft7=True)


def checkResponse(t, doc, where, status, response):
    t.check(response.get("description"), f"{where}: no description")
    t.check("X-Request-Id" in response.get("headers", {}), f"{where}: no X-Request-Id")
    for header in response.get("headers", {}).values():
        header = follow(doc, header)
        t.check("description" in header and set(header["schema"]) == {"$ref"}, f"{where}: header without description or schema")
    content = response.get("content", {})
    if status == "default" or status >= "400":
        good = set(content) == {"application/problem+json"} and content["application/problem+json"]["schema"] == {
            "$ref": "#/components/schemas/Problem"}
        t.check(good, f"{where}: an error that is not a Problem")
    elif status in ("101", "204"):
        t.check(not content, f"{where}: content where none belongs")
    else:
        stream = any(set(content) == {kind} and where.startswith(name + " ") for name, kind in STREAMS)
        t.check(stream or set(content) == {"application/json"}, f"{where}: content is not JSON")
    for media in content.values():
        t.check(set(media["schema"]) == {"$ref"}, f"{where}: schema is not in components")
        for key, example in media.get("examples", {}).items():
            checkExample(t, doc, media["schema"], example["value"], f"{where}: example {key}")


def checkExample(t, doc, schema, value, where, draft7=False):
    for draft in (Draft202012Validator, Draft7Validator) if draft7 else (Draft202012Validator,):
        errors = [f"{list(e.path)}: {e.message}" for e in validator(doc, schema, draft).iter_errors(value)]
        t.check(not errors, f"{where}: does not fit its schema: {errors[:3]}")
    # A misspelt member would pass an open response schema unnoticed.
    closed = validator(closedCopy(doc), schema, Draft202012Validator)
    unknown = [e.message for e in closed.iter_errors(value)]
    t.check(not unknown, f"{where}: has members that the schema does not know: {unknown[:3]}")


def closedCopy(doc, cache=[]):
    """The document with every object schema closed against members it does not name."""
    if not cache:
        closed = copy.deepcopy(doc)
        for name, schema in closed["components"]["schemas"].items():
            if "properties" in schema and name not in ("OpenApiDocument",):
                for base in [follow(doc, s) for s in schema.pop("allOf", [])]:
                    schema["properties"] = {**copy.deepcopy(base["properties"]), **schema["properties"]}
                    schema["required"] = base.get("required", []) + schema.get("required", [])
                schema["additionalProperties"] = False
        cache.append(closed)
    return cache[0]


def literals(pattern, paths):
    """Snake-case texts in C++ sources that `pattern` finds, each with where; test sources are left out."""
    for path in sorted(p for glob in paths for p in SOURCES.glob(glob)):
        if not path.name.endswith("_test.cc"):
            for statement in re.findall(pattern, path.read_text(), re.S):
                for code in re.findall(r'"([a-z][a-z0-9_]*)"', statement):
                    yield code, path.name


def documented(description):
    """The codes of the first column of the tables in a description."""
    cells = re.findall(r"^\| (`[^|]*) \|", description, re.M)
    return {code for cell in cells for code in re.findall(r"`([a-z0-9_]+)`", cell)}


def checkCodes(t, doc):
    """No part of the product can show a code that the contract does not explain."""
    schemas = doc["components"]["schemas"]
    reasons = documented(schemas["SandboxReason"]["description"])
    found = 0
    for pattern, paths in REASON_SOURCES.items():
        for code, where in literals(pattern, paths):
            found += 1
            t.check(code in reasons or code in NO_REASONS, f"{where}: the reason {code} is not in SandboxReason")
    t.check(found > 25, f"only {found} reasons were found in the sources: is this check looking in the right places?")
    tables = [("SandboxExitCause", schemas["SandboxExitCause"]["description"], r"kExitCauses\[\] = \{(.*?)\};", "wire/sandbox.cc"),
              ("SandboxEvent.kind", schemas["SandboxEvent"]["properties"]["kind"]["description"], r"kKinds\[\] = \{(.*?)\};",
               "server/core/sandbox_event.cc")]
    for name, description, pattern, path in tables:
        codes = {code for code, _ in literals(pattern, [path])}
        t.check(len(codes) > 5 and codes == documented(description), f"{name}: {sorted(codes ^ documented(description))}")


def checkProse(t, doc):
    reason = doc["components"]["schemas"]["SandboxReason"]["description"]
    for code in REASONS:
        t.check(f"`{code}` |" in reason, f"SandboxReason does not document {code}")
    state = doc["components"]["schemas"]["SandboxState"]
    for name in state["enum"]:
        t.check(f"`{name}` |" in state["description"], f"SandboxState does not document {name}")
    for code in doc["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]:
        t.check(f"| `{code}` |" in doc["info"]["description"], f"the introduction does not document {code}")
    session = doc["paths"]["/api/sessions"]["get"]["description"]
    for frame in ("0x00", "0x01", "0x02", "0x03", "0x04", "0x10", "0x11", "0x12", "0x13", "0x14"):
        t.check(f"| `{frame}` |" in session, f"openSession does not document frame {frame}")


def checkSamples(t, doc):
    for name, fits, value, why in SAMPLES:
        for draft in (Draft202012Validator, Draft7Validator):
            got = validator(doc, {"$ref": f"#/components/schemas/{name}"}, draft).is_valid(value)
            t.check(got == fits, f"{name} {'refuses' if fits else 'accepts'} {str(value)[:100]} ({why}, {draft.__name__})")
    openApi = validator(doc, {"$ref": "#/components/schemas/OpenApiDocument"}, Draft202012Validator)
    t.check(openApi.is_valid(doc), "this document does not fit OpenApiDocument")


def main():
    t = Tally()
    try:
        t.begin("syntax")
        doc = yaml.load(SPEC.read_text(encoding="utf-8"), Loader=UniqueKeyLoader)
        t.check(doc.get("openapi") == "3.1.0", "openapi is not 3.1.0")
        t.begin("references")
        checkReferences(t, doc)
        if not t.failed:  # the rest follows references
            names = requestClosure(doc)
            for name, check in {
                "schemas": lambda: checkSchemas(t, doc, names),
                "request schemas": lambda: checkRequestSchemas(t, doc, names),
                "operations": lambda: checkOperations(t, doc),
                "prose": lambda: checkProse(t, doc),
                "samples": lambda: checkSamples(t, doc),
                "codes": lambda: checkCodes(t, doc),
            }.items():
                t.begin(name)
                check()
    except yaml.YAMLError as error:
        t.check(False, f"openapi.yaml does not parse: {error}")
    for section, (good, bad) in t.sections.items():
        print(f"{section}: {good} checks hold, {bad} do not")
    print(f"{t.passed} passed, {t.failed} failed")
    return 1 if t.failed else 0


if __name__ == "__main__":
    sys.exit(main())
