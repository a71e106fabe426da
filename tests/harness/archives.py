"""Image archives made byte by byte, so that a test can tell every lie: wrong digests, links, devices, missing parts.

    image = Image([layer({"etc/marker": b"x"})])
    path.write_bytes(image.oci())

`Entry` lists can be changed before tar_of() packs them. For an image that really runs, start from `busybox_layer()`.
"""

import copy
import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field

LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@dataclass
class Entry:
    """One tar entry. `kind` is a tarfile type byte."""

    name: str
    data: bytes = b""
    kind: bytes = tarfile.REGTYPE
    link: str = ""
    device: tuple = (0, 0)
    mode: int = 0o644


def tar_of(entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for entry in entries:
            info = tarfile.TarInfo(entry.name)
            info.type, info.linkname, info.mode, info.mtime = entry.kind, entry.link, entry.mode, 1704067200
            info.devmajor, info.devminor = entry.device
            info.size = len(entry.data)
            tar.addfile(info, io.BytesIO(entry.data))
    return out.getvalue()


def layer(files, extra=()):
    """A layer tar: {"path": bytes}, plus any entries."""
    return tar_of([Entry(name, data) for name, data in files.items()] + list(extra))


def busybox_layer(archive):
    """The layer of the busybox archive that the fixtures build."""
    with tarfile.open(archive) as tar:
        index = json.load(tar.extractfile("index.json"))
        manifest = json.load(tar.extractfile("blobs/sha256/" + index["manifests"][0]["digest"][7:]))
        return tar.extractfile("blobs/sha256/" + manifest["layers"][0]["digest"][7:]).read()


@dataclass
class Image:
    """The parts of an image. Change them, or the entries, before packing."""

    layers: list
    architecture: str = "amd64"
    os: str = "linux"
    config: dict = field(default_factory=lambda: {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]})
    compress: bool = False
    diff_ids: list = None      # a lie about the layers
    media_type: str = None

    def config_bytes(self):
        return json.dumps({
            "architecture": self.architecture, "os": self.os, "created": "2024-01-01T00:00:00Z", "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": self.diff_ids or [f"sha256:{sha256(data)}" for data in self.layers]},
        }, sort_keys=True).encode()

    def sent_layers(self):
        return [gzip.compress(data, mtime=0) if self.compress else data for data in self.layers]

    def manifest_bytes(self):
        config = self.config_bytes()
        media_type = self.media_type or LAYER_TYPE + ("+gzip" if self.compress else "")
        return json.dumps({
            "schemaVersion": 2, "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": CONFIG_TYPE, "digest": f"sha256:{sha256(config)}", "size": len(config)},
            "layers": [{"mediaType": media_type, "digest": f"sha256:{sha256(data)}", "size": len(data)} for data in self.sent_layers()],
        }).encode()

    def oci_entries(self):
        manifest, config = self.manifest_bytes(), self.config_bytes()
        index = {"schemaVersion": 2, "manifests": [{
            "mediaType": MANIFEST_TYPE, "digest": f"sha256:{sha256(manifest)}", "size": len(manifest)}]}
        blobs = {sha256(data): data for data in [manifest, config, *self.sent_layers()]}
        return [Entry("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), Entry("index.json", json.dumps(index).encode()),
                *[Entry(f"blobs/sha256/{name}", data) for name, data in blobs.items()]]

    def oci(self):
        return tar_of(self.oci_entries())

    def docker_save_entries(self, tag=None):
        config = self.config_bytes()
        names = [f"{sha256(data)}/layer.tar" for data in self.layers]
        manifest = [{"Config": f"{sha256(config)}.json", "RepoTags": [tag] if tag else None, "Layers": names}]
        return [Entry("manifest.json", json.dumps(manifest).encode()), Entry(f"{sha256(config)}.json", config),
                *[Entry(name, data) for name, data in dict(zip(names, self.layers)).items()]]

    def docker_save(self, tag=None):
        return tar_of(self.docker_save_entries(tag))

    def changed(self, **members):
        other = copy.copy(self)
        for name, value in members.items():
            setattr(other, name, value)
        return other


def two_images(first, second):
    """An OCI layout with two images for the same platform."""
    manifests = [image.manifest_bytes() for image in (first, second)]
    index = {"schemaVersion": 2, "manifests": [
        {"mediaType": MANIFEST_TYPE, "digest": f"sha256:{sha256(data)}", "size": len(data)} for data in manifests]}
    parts = [part for image in (first, second) for part in (image.manifest_bytes(), image.config_bytes(), *image.sent_layers())]
    blobs = {sha256(data): data for data in parts}
    return tar_of([Entry("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), Entry("index.json", json.dumps(index).encode()),
                   *[Entry(f"blobs/sha256/{name}", data) for name, data in blobs.items()]])
