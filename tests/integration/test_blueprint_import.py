"""Uploading image archives: what is an image, what is not, and that nothing of a refused one is kept."""

import base64
import concurrent.futures
import gzip
import hashlib
import http.client
import json
import os
import tarfile
import types

import pytest

from harness.api import ApiClient, check_problem
from harness.archives import Entry, Image, layer, sha256, tar_of, two_images
from harness.small_disk import SmallDisk
from harness.stack import Server, Stack
from harness.waiting import wait_until


def small_image(marker="x"):
    return Image([layer({"etc/marker": marker.encode(), "bin/sh": b"#!"})])


def upload(stack, name, data, **headers):
    return stack.api.raw("POST", "/api/blueprints", params={"name": name}, data=data,
                         headers={"Content-Type": "application/x-tar", **headers}, timeout=120)


def kept(data_dir):
    """(unfinished uploads, published blobs) on the server's disk."""
    return (sorted(p.name for p in (data_dir / "uploads").iterdir()),
            sorted(p.name for p in (data_dir / "blobs" / "sha256").rglob("*") if p.is_file()))


def content_digest(data):
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


# Good archives


@pytest.mark.parametrize("pack", [
    lambda image: image.oci(), lambda image: gzip.compress(image.oci()), lambda image: image.docker_save("some:tag"),
    lambda image: image.changed(compress=True).oci(), lambda image: gzip.compress(image.docker_save()),
], ids=["OCI", "OCI gzipped", "docker save", "OCI with gzipped layers", "docker save gzipped"])
def test_every_form_of_one_image_gives_the_same_blueprint_digest(control_plane, pack):
    image = small_image("same for all")
    data = pack(image)
    name = f"form-{sha256(data)[:12]}"
    response = upload(control_plane, name, data, **{"Content-Digest": content_digest(data)})
    assert response.status_code == 201, response.text
    blueprint = response.json()

    def part(content):
        return {"digest": f"sha256:{sha256(content)}", "sizeBytes": len(content)}

    manifest = {"architecture": "amd64", "config": part(image.config_bytes()), "formatVersion": 1, "layers": [part(image.layers[0])],
                "os": "linux"}
    canonical = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    assert blueprint["digest"] == f"sha256:{sha256(canonical)}"
    assert blueprint["archiveDigest"] == f"sha256:{sha256(data)}"
    assert blueprint["layers"] == manifest["layers"]


def test_a_layer_that_two_blueprints_share_is_kept_once_and_uncompressed(control_plane):
    shared = layer({"shared": b"s" * 1000})
    before = set(kept(control_plane.server.data_dir)[1])
    for i, compress in enumerate((True, False)):
        image = Image([shared, layer({f"own{i}": b"o"})], compress=compress)
        assert upload(control_plane, f"share-{i}", image.oci()).status_code == 201
    new = set(kept(control_plane.server.data_dir)[1]) - before
    assert len(new) == 1 + 2 + 2  # the shared layer, two of their own, two configurations
    stored = control_plane.server.data_dir / "blobs" / "sha256" / sha256(shared)[:2] / sha256(shared)
    assert stored.read_bytes() == shared


# Bad archives. (name, archive, headers, status, code, reason)

DEVICE = Entry("dev/sda", kind=tarfile.BLKTYPE, device=(8, 0))
GOOD = small_image("base of the bad ones")


def _with(entries, *more):
    return tar_of([*entries, *more])


def _blob(data):
    return f"blobs/sha256/{sha256(data)}"


def _replaced(image, name, **members):
    """The OCI layout of the image with another entry in the place of this one."""
    return tar_of([Entry(name, **members) if entry.name == name else entry for entry in image.oci_entries()])


def _without(entries, name):
    return [entry for entry in entries if entry.name != name]


BAD = [
    ("zero bytes", b"", 400, "archive_empty"),
    ("text", b"this is not a tar archive, it only says so\n" * 100, 400, "archive_not_an_image"),
    ("binary garbage", bytes(range(256)) * 100, 400, "archive_not_an_image"),
    ("an empty tar", tar_of([]), 400, "archive_not_an_image"),
    ("a tar of something else", tar_of([Entry("README", b"hello")]), 400, "archive_not_an_image"),
    ("a zip", b"PK\x03\x04" + b"\0" * 2000, 400, "archive_not_an_image"),
    ("cut in the middle", GOOD.oci()[:len(GOOD.oci()) // 2], 400, "archive_truncated"),
    ("cut in the middle of gzip", gzip.compress(GOOD.oci())[:-20], 400, "archive_truncated"),
    ("a layer is missing", tar_of(_without(GOOD.oci_entries(), _blob(GOOD.layers[0]))), 400, "archive_truncated"),
    ("an absolute name", _with(GOOD.oci_entries(), Entry("/etc/cron.d/evil", b"x")), 400, "archive_unsafe_path"),
    ("a name that climbs out", _with(GOOD.oci_entries(), Entry("../../etc/cron.d/evil", b"x")), 400, "archive_unsafe_path"),
    ("a name that climbs in the middle", _with(GOOD.oci_entries(), Entry("blobs/../../evil", b"x")), 400, "archive_unsafe_path"),
    ("a symbolic link", _with(GOOD.oci_entries(), Entry("link", kind=tarfile.SYMTYPE, link="/etc/shadow")), 400, "archive_unsafe_entry"),
    ("a blob that is a symbolic link", _replaced(GOOD, _blob(GOOD.layers[0]), kind=tarfile.SYMTYPE, link="/etc/shadow"), 400,
     "archive_unsafe_entry"),
    ("a hard link", _with(GOOD.oci_entries(), Entry("again", kind=tarfile.LNKTYPE, link="index.json")), 400, "archive_unsafe_entry"),
    ("a hard link out", _with(GOOD.oci_entries(), Entry("again", kind=tarfile.LNKTYPE, link="/etc/shadow")), 400, "archive_unsafe_entry"),
    ("a block device", _with(GOOD.oci_entries(), DEVICE), 400, "archive_unsafe_entry"),
    ("a character device", _with(GOOD.oci_entries(), Entry("c", kind=tarfile.CHRTYPE, device=(1, 3))), 400, "archive_unsafe_entry"),
    ("a fifo", _with(GOOD.oci_entries(), Entry("f", kind=tarfile.FIFOTYPE)), 400, "archive_unsafe_entry"),
    ("a device in a layer", Image([layer({}, [DEVICE])]).oci(), 400, "archive_unsafe_entry"),
    ("a layer entry that climbs out", Image([layer({"../../evil": b"x"})]).oci(), 400, "archive_unsafe_path"),
    ("a layer hard link that climbs out", Image([layer({}, [Entry("l", kind=tarfile.LNKTYPE, link="../../etc/shadow")])]).oci(), 400,
     "archive_unsafe_path"),
    ("a layer's bytes are others than its name says", _replaced(GOOD, _blob(GOOD.layers[0]), data=b"other bytes"), 422, "digest_mismatch"),
    ("a diff_id that lies", GOOD.changed(diff_ids=["sha256:" + "0" * 64]).oci(), 422, "digest_mismatch"),
    ("a diff_id that lies, docker save", GOOD.changed(diff_ids=["sha256:" + "0" * 64]).docker_save(), 422, "digest_mismatch"),
    ("fewer diff_ids than layers", GOOD.changed(diff_ids=[f"sha256:{sha256(GOOD.layers[0])}"] * 2).oci(), 400, "archive_not_an_image"),
    ("two images", two_images(GOOD, small_image("the second")), 400, "archive_not_an_image"),
    ("two images, docker save", None, 400, "archive_not_an_image"),
    ("an image for another system", GOOD.changed(os="windows").oci(), 400, "archive_not_an_image"),
    ("an image without layers", Image([]).oci(), 400, "archive_not_an_image"),
    ("a layer that is no tar", Image([b"plain text, no tar" * 100]).oci(), 400, "archive_not_an_image"),
    ("128 layers", Image([layer({f"f{i}": b""}) for i in range(128)]).oci(), 400, "too_many_layers"),
    ("a foreign type of layer", GOOD.changed(media_type="application/vnd.example.layer+zstd").oci(), 415, "unsupported_media_type"),
    ("an index that is no JSON", _replaced(GOOD, "index.json", data=b"{"), 400, "archive_not_an_image"),
    ("one name twice", _with(GOOD.oci_entries(), Entry("index.json", b"{}")), 400, "archive_unsafe_entry"),
]


def _docker_save_of_two():
    other = small_image("the second")
    first, second = GOOD.docker_save_entries(), other.docker_save_entries()
    manifests = json.loads(first[0].data) + json.loads(second[0].data)
    return tar_of([Entry("manifest.json", json.dumps(manifests).encode()), *first[1:], *second[1:]])


BAD = [(name, data if data is not None else _docker_save_of_two(), status, reason) for name, data, status, reason in BAD]
CODES = {400: "invalid_argument", 415: "invalid_argument", 422: "data_loss"}


@pytest.mark.parametrize("data, status, reason", [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_a_bad_archive_is_refused_with_its_reason_and_nothing_is_kept(control_plane, data, status, reason):
    before = kept(control_plane.server.data_dir)
    problem = check_problem(upload(control_plane, "bad-archive", data), status, CODES[status])
    assert problem.get("reason") == reason and problem["detail"], problem
    assert kept(control_plane.server.data_dir) == before
    assert "bad-archive" not in {b["name"] for b in control_plane.api.list_all("/api/blueprints")}


@pytest.mark.parametrize("lie", ["sha-256=:" + "A" * 43 + "=:", None])
def test_a_content_digest_that_does_not_fit_the_body_is_refused(control_plane, lie):
    data = small_image("lied about").oci()
    before = kept(control_plane.server.data_dir)
    response = upload(control_plane, "lied-about", data, **{"Content-Digest": lie or content_digest(data[:-512])})
    assert check_problem(response, 422, "data_loss")["reason"] == "digest_mismatch"
    assert kept(control_plane.server.data_dir) == before


@pytest.mark.parametrize("value", [
    "", "nonsense", "sha-256=:short:", "md5=:1B2M2Y8AsgTpgAmY7PhCfg==:", "sha-256=:" + "A" * 43 + "=:, sha-512=:AA==:"])
def test_a_malformed_content_digest_is_a_bad_request(control_plane, value):
    check_problem(upload(control_plane, "malformed-digest", small_image().oci(), **{"Content-Digest": value}), 400, "invalid_argument")


def test_another_media_type_or_encoding_is_refused(control_plane):
    data = small_image().oci()
    check_problem(upload(control_plane, "media", data, **{"Content-Type": "application/zip"}), 415, "invalid_argument")
    check_problem(upload(control_plane, "media", gzip.compress(data), **{"Content-Encoding": "gzip"}), 415, "invalid_argument")


@pytest.mark.parametrize("name", ["", "Capital", "under_score", "-dash", "a" * 64, "../x", "ä"])
def test_a_bad_blueprint_name_is_a_bad_request(control_plane, name):
    check_problem(upload(control_plane, name, small_image().oci()), 400, "invalid_argument")


def test_a_gzip_bomb_is_cut_off(control_plane):
    """A thousand to one is no image: stopped by the ratio, long before the disk notices."""
    bomb = gzip.compress(tar_of([Entry("oci-layout", b"{}"), Entry("zeros", b"\0" * (64 << 20))]), 9)
    before = kept(control_plane.server.data_dir)
    response = upload(control_plane, "bomb", bomb)
    assert response.status_code in (400, 413), response.text
    check_problem(response)
    assert kept(control_plane.server.data_dir) == before


def test_a_taken_name_is_told_before_the_body_is_read(control_plane):
    assert upload(control_plane, "taken", small_image("taken").oci()).status_code == 201
    before = kept(control_plane.server.data_dir)
    check_problem(upload(control_plane, "taken", small_image("taken").oci()), 409, "already_exists")
    # Only the header is sent, with a promise of a gigabyte.
    connection = http.client.HTTPConnection("127.0.0.1", control_plane.server.http_port, timeout=10)
    connection.putrequest("POST", "/api/blueprints?name=taken")
    for header, value in (("Authorization", f"Bearer {control_plane.server.api_key}"), ("Content-Type", "application/x-tar"),
                          ("Content-Length", str(1 << 30))):
        connection.putheader(header, value)
    connection.endheaders()
    assert connection.getresponse().status == 409
    connection.close()
    assert kept(control_plane.server.data_dir) == before


def test_of_two_uploads_with_one_name_exactly_one_wins(control_plane):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        statuses = pool.map(lambda i: upload(control_plane, "race", small_image(f"racer {i}").oci()).status_code, range(8))
        assert sorted(statuses) == [201] + [409] * 7


def start_upload(server, name, data, length):
    """An upload that promises `length` bytes and sends only `data` so far."""
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=30)
    connection.putrequest("POST", f"/api/blueprints?name={name}")
    for header, value in (("Authorization", f"Bearer {server.api_key}"), ("Content-Type", "application/x-tar"),
                          ("Content-Length", str(length))):
        connection.putheader(header, value)
    connection.endheaders()
    connection.send(data)
    return connection


def test_a_client_that_goes_away_in_the_middle_leaves_nothing(control_plane):
    data = Image([layer({"big": os.urandom(3 << 20)})]).oci()
    before = kept(control_plane.server.data_dir)
    connection = start_upload(control_plane.server, "goes-away", data[:2 << 20], len(data))
    wait_until(lambda: kept(control_plane.server.data_dir)[0] != before[0], 10, "the upload being on disk in part")
    connection.close()
    wait_until(lambda: kept(control_plane.server.data_dir) == before, 10, "the rest being removed")
    assert upload(control_plane, "goes-away", data).status_code == 201


@pytest.mark.parametrize("how", ["in the middle", "blob.publish.begin", "blob.publish.renamed"])
def test_a_server_killed_during_an_upload_keeps_nothing_of_it_and_takes_it_again(tmp_path, how):
    data = Image([layer({"big": os.urandom(3 << 20)}), layer({"more": b"m"})]).oci()
    with Stack(agents=0) as stack:
        if how == "in the middle":
            connection = start_upload(stack.server, "half", data[:2 << 20], len(data))
            wait_until(lambda: kept(stack.server.data_dir)[0], 10, "the upload being on disk in part")
            stack.server.kill()
        else:
            stack.server.stop()
            stack.server.start(GSTACKS_CRASH_POINT=how)
            connection = start_upload(stack.server, "half", data, len(data))
            assert stack.server.process.wait_exit() == -9
        connection.close()
        stack.server.start()
        uploads, blobs = kept(stack.server.data_dir)
        assert uploads == []
        # What was renamed before the crash is a whole, verified blob under its own digest; nothing refers to it.
        for blob in blobs:
            path = stack.server.data_dir / "blobs" / "sha256" / blob[:2] / blob
            assert sha256(path.read_bytes()) == blob and how == "blob.publish.renamed"
        assert stack.api.list_all("/api/blueprints") == []
        assert upload(stack, "half", data).status_code == 201


def test_a_full_disk_of_the_server_is_507_and_keeps_nothing(tmp_path):
    """A real full disk: the data directory is a small file system."""
    server = Server(tmp_path / "s")
    with SmallDisk(server.data_dir, 24) as disk:
        try:
            server.init()
            server.start()
            api = ApiClient(server.base_url, server.api_key)
            stack = types.SimpleNamespace(api=api, server=server)
            big = Image([layer({"big": os.urandom(40 << 20)})]).oci()
            before, free = kept(server.data_dir), disk.free_bytes()
            problem = check_problem(upload(stack, "too-big", big), 507, "resource_exhausted")
            assert problem["reason"] == "disk_full" and problem["fix"]
            assert kept(server.data_dir) == before
            assert disk.free_bytes() > free - (1 << 20), "what was written of it is free again"
            assert api.get("/api/health")["status"] == "ok"
            assert upload(stack, "fits", small_image("fits").oci()).status_code == 201
            # Nearly full: the small one does not fit either, and says so the same way.
            disk.fill(leave=64 << 10)
            check_problem(upload(stack, "small-but-too-big", Image([layer({"m": os.urandom(1 << 20)})]).oci()), 507, "resource_exhausted")
            disk.unfill()
            assert upload(stack, "small-but-too-big", small_image("again").oci()).status_code == 201
        finally:
            server.kill()
