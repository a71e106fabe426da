"""openapi.yaml as a judge: every answer that a CheckedClient gets is held against the operation that it belongs to."""

import functools
import json
import re

import jsonschema
import yaml

from .api import ApiClient
from .processes import REPOSITORY

METHODS = ("get", "put", "post", "delete", "patch")


class Contract:
    def __init__(self, document=None):
        self.document = document or load_document()
        self.operations = {}
        for template, item in self.document["paths"].items():
            for method in METHODS:
                if method in item:
                    operation = dict(item[method], template=template, method=method.upper())
                    operation["parameters"] = item.get("parameters", []) + operation.get("parameters", [])
                    self.operations[operation["operationId"]] = operation
        self._resolver = jsonschema.RefResolver.from_schema(self.document)
        self._formats = jsonschema.FormatChecker()

    def resolve(self, node):
        while "$ref" in node:
            node = functools.reduce(lambda at, part: at[part], node["$ref"][2:].split("/"), self.document)
        return node

    def errors(self, schema, value):
        validator = jsonschema.Draft202012Validator(schema, resolver=self._resolver, format_checker=self._formats)
        return [f"{'/'.join(map(str, error.absolute_path))}: {error.message}" for error in validator.iter_errors(value)]

    def find(self, method, path):
        """The operation of a request, None when the contract has none."""
        best = None
        for operation in self.operations.values():
            pattern = re.sub(r"\{[^}]*\}", "[^/]+", operation["template"])
            if operation["method"] == method and re.fullmatch(pattern, path):
                if best is None or "{" not in operation["template"]:
                    best = operation
        return best

    def path(self, operation_id, **ids):
        return self.operations[operation_id]["template"].format(**ids)

    def check_answer(self, operation, status, headers, body):
        """Raises AssertionError with everything in which the answer is not what the contract promises."""
        responses = operation["responses"]
        promised = self.resolve(responses.get(str(status)) or responses["default"])
        if str(status) not in responses:
            assert status >= 400, f"{operation['operationId']} answered {status}, which the contract does not name"
        faults = [*self._header_faults(promised, headers), *self._body_faults(promised, headers, body)]
        assert not faults, f"{operation['operationId']} answered {status} and broke the contract: {faults}\n{body[:1500]!r}"

    def _header_faults(self, promised, headers):
        for name, header in promised.get("headers", {}).items():
            header = self.resolve(header)
            value = headers.get(name)
            if value is None:
                if header.get("required"):
                    yield f"no header {name}"
                continue
            schema = self.resolve(header["schema"])
            yield from (f"header {name}: {error}" for error in self.errors(schema, int(value) if schema["type"] == "integer" else value))

    def _body_faults(self, promised, headers, body):
        content = promised.get("content")
        if not content:
            if body:
                yield "a body where there is none"
            return
        media_type = headers.get("Content-Type", "").split(";")[0]
        if media_type not in content:
            yield f"Content-Type {media_type!r}"
            return
        if headers.get("Cache-Control") != "no-store" or headers.get("X-Content-Type-Options") != "nosniff":
            yield "without Cache-Control: no-store or X-Content-Type-Options: nosniff"
        if media_type in ("application/json", "application/problem+json"):
            yield from self.errors(content[media_type]["schema"], json.loads(body))


@functools.cache
def load_document():
    return yaml.safe_load((REPOSITORY / "openapi" / "openapi.yaml").read_text())


class CheckedClient(ApiClient):
    """An ApiClient that lets no answer pass which the contract does not promise. `seen` has (operationId, status)."""

    def __init__(self, base_url, api_key=None, timeout=90, contract=None, seen=None):
        super().__init__(base_url, api_key, timeout)
        self.contract = contract or Contract()
        self.seen = seen if seen is not None else set()

    def with_key(self, api_key):
        return CheckedClient(self.base_url, api_key, self.timeout, self.contract, self.seen)

    def raw(self, method, path, **options):
        response = super().raw(method, path, **options)
        operation = self.contract.find(method, path.split("?")[0])
        if operation is not None:
            self.seen.add((operation["operationId"], response.status_code))
            self.contract.check_answer(operation, response.status_code, response.headers, response.content)
        return response
