"""Fixtures for tests of the whole system: helpers that say what a test means."""

import os

import pytest

from harness.archives import Image, busybox_layer, layer


@pytest.fixture(scope="session")
def unique_image(busybox_archive):
    """unique_image("name", megabytes=0) gives an archive that runs, and whose digest no other test shares.

    Images are shared by everybody who uses the same engine: a test that damages or removes one needs its own.
    """
    base = busybox_layer(busybox_archive)

    def make(path, marker, megabytes=0, **config):
        files = {"etc/marker": marker.encode()}
        if megabytes:
            files["bulk"] = os.urandom(1 << 20) * megabytes
        image = Image([base, layer(files)])
        image.config.update(config)
        path.write_bytes(image.oci())
        return path

    return make


@pytest.fixture(scope="session")
def processes_of():
    """processes_of(api, sandbox): the command lines of everything that runs in it, seen from inside; zombies have none."""
    script = 'for p in /proc/[0-9]*; do tr "\\0" " " < $p/cmdline 2> /dev/null && echo; done'

    def look(api, sandbox, **members):
        return [line.strip() for line in api.exec(sandbox, ["sh", "-c", script], **members).check().splitlines() if line.strip()]
    return look


@pytest.fixture(scope="session")
def container_of():
    """container_of(stack, sandbox): what the engine says about the one container of a sandbox."""
    def find(stack, sandbox):
        found = stack.engine.containers(gstacks_sandbox=sandbox["id"])
        assert len(found) == 1, f"{len(found)} containers of {sandbox['id']}: {found}"
        return stack.engine.inspect(found[0]["Id"])
    return find
