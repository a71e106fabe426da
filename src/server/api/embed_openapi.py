#!/usr/bin/python3
"""embed_openapi.py openapi.yaml out.cc: the HTTP contract as JSON text in a C++ source."""
import json
import sys

import yaml


class Loader(yaml.SafeLoader):
    """Times stay text: JSON has no type for them."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}

CHUNK = 8192  # compilers need not accept longer literals


def main(source, target):
    with open(source, encoding="utf-8") as file:
        text = json.dumps(yaml.load(file, Loader), separators=(",", ":"))
    chunks = [text[start:start + CHUNK] for start in range(0, len(text), CHUNK)]
    with open(target, "w", encoding="ascii") as out:
        out.write("// Generated from openapi/openapi.yaml.\n#include <cstddef>\n\nnamespace gs {\n")
        out.write("extern const char* const kOpenApiChunks[];\nextern const std::size_t kOpenApiChunkCount;\n")
        out.write("const char* const kOpenApiChunks[] = {\n")
        for chunk in chunks:
            out.write(f'R"gsjson({chunk})gsjson",\n')
        out.write(f"}};\nconst std::size_t kOpenApiChunkCount = {len(chunks)};\n}}  // namespace gs\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
