"""Artifacts in a folder are stored whole or not at all, and only below the folder."""

import concurrent.futures
import itertools
import os
import socket
import subprocess
import threading

import httpx
import pytest

from textflow_mlflow.app.artifact_files import ArtifactFiles
from textflow_mlflow.app.lane import artifact_path

from . import running
from .running import FILES


@pytest.fixture
def server(serve):
    return serve()


@pytest.fixture
def root(tmp_path):
    return tmp_path / "artifacts"


def stored(root) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_a_large_file_goes_through_without_a_large_memory(server, root):
    """256 MiB up and down; the server keeps a few pieces of it at a time."""
    piece = os.urandom(1 << 20)
    pid = server.process.pid
    before = running.peak_memory_bytes(pid)

    assert (
        200
        == httpx.put(
            f"{server.url}{FILES}/0/big", content=(piece for _ in range(256)), timeout=120
        ).status_code
    )
    with httpx.stream("GET", f"{server.url}{FILES}/0/big", timeout=120) as answer:
        assert str(256 << 20) == answer.headers["content-length"]
        assert 256 << 20 == sum(len(chunk) for chunk in answer.iter_bytes())

    assert 256 << 20 == (root / "0" / "big").stat().st_size
    assert running.peak_memory_bytes(pid) - before < 40 << 20


def test_an_upload_that_breaks_off_leaves_the_older_file(server, root):
    """Stock stores the half that came, over the whole that was there."""
    httpx.put(f"{server.url}{FILES}/0/a.bin", content=b"whole")
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            f"PUT {FILES}/0/a.bin HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nhalf".encode()
        )
        running.wait_until(lambda: stored(root) - {"0/a.bin"}, "upload begun")

    running.wait_until(lambda: stored(root) == {"0/a.bin"}, "upload given up")
    assert b"whole" == httpx.get(f"{server.url}{FILES}/0/a.bin").content
    assert "Traceback" not in server.log


def test_a_part_of_a_file_can_be_asked_for(server):
    """RFC 9110 section 14: a broken download goes on where it stopped."""
    httpx.put(f"{server.url}{FILES}/0/a.txt", content=b"0123456789")

    part = httpx.get(f"{server.url}{FILES}/0/a.txt", headers={"Range": "bytes=4-6"})

    assert (206, b"456", "bytes 4-6/10") == (part.status_code, part.content, part.headers["content-range"])


@pytest.mark.parametrize("name", ["größe ✓.txt", 'a"b.txt', "two words.txt", "x" * 255])
def test_any_name_can_be_stored_listed_and_fetched(server, name):
    """Stock's answer for a name outside Latin-1 is empty; the header here follows RFC 6266."""
    with httpx.Client(base_url=server.url) as client:
        assert 200 == client.put(f"{FILES}/0/{name}", content=b"x").status_code
        found = client.get(f"{FILES}/0/{name}")
        listed = client.get(FILES, params={"path": "0"}).json()["files"]

    assert (200, b"x") == (found.status_code, found.content)
    assert found.headers["content-disposition"].startswith("attachment; filename")
    assert [name] == [file["path"] for file in listed]


@pytest.mark.parametrize(
    "path",
    [
        "../out.txt",
        "a/../../out.txt",
        "a//b",
        "./a",
        "a\\..\\b",
        "%2e%2e/x",
        "a:b",
        "a?b",
        "a#b",
        "",
    ],
)
def test_an_unusual_path_is_left_to_mlflow(path):
    """MLflow decodes and parses paths again, so only plain ones are answered here."""
    assert artifact_path(f"{FILES}/0/a.txt", "") == "0/a.txt"
    assert artifact_path(f"{FILES}/{path}", "") is None


@pytest.mark.parametrize(
    "spelling", ["%2e%2e/out.txt", "..%2fout.txt", "%252e%252e/out.txt", "a/%2e%2e/%2e%2e/out.txt"]
)
def test_nothing_is_stored_outside_the_folder(server, root, spelling):
    """Whatever the spelling of `..`."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = (
            f"PUT {FILES}/{spelling} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx"
        )
        connection.sendall(head.encode())
        answer = connection.makefile("rb").read()

    assert not answer.startswith(b"HTTP/1.1 200")
    assert not list(root.parent.rglob("out.txt"))


def test_a_link_out_of_the_folder_is_not_followed_here(tmp_path):
    """Neither read through nor written through."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("x")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")
    files = ArtifactFiles(root)

    assert (None, None) == (files._file("link/secret"), files._file("file"))
    assert (None, None) == (files._target("link/new"), files._target("file"))


def test_a_file_in_the_way_is_told_by_mlflow(server):
    """Not a 200 and not a broken file."""
    httpx.put(f"{server.url}{FILES}/0/a/b.txt", content=b"x")

    assert httpx.put(f"{server.url}{FILES}/0/a/b.txt/c", content=b"y").status_code >= 400
    assert b"x" == httpx.get(f"{server.url}{FILES}/0/a/b.txt").content


def test_an_artifact_that_is_replaced_while_it_is_read_comes_whole(server):
    """The older or the newer, each time with its own length."""
    versions = [b"a" * 100, b"b" * 50_000]
    stop = threading.Event()

    def write():
        with httpx.Client(base_url=server.url) as client:
            for content in itertools.cycle(versions):
                if stop.is_set():
                    return
                client.put(f"{FILES}/0/a", content=content)

    httpx.put(f"{server.url}{FILES}/0/a", content=versions[0])
    with concurrent.futures.ThreadPoolExecutor() as pool, httpx.Client(base_url=server.url) as client:
        writer = pool.submit(write)
        try:
            seen = {client.get(f"{FILES}/0/a").content for _ in range(600)}
        finally:
            stop.set()
        writer.result()

    assert set(versions) == seen


def test_the_folder_of_uploads_is_nobodys(server, root):
    """What is under way can be read, replaced or deleted by no path."""
    for method in ("GET", "PUT", "DELETE"):
        assert 400 == httpx.request(method, f"{server.url}{FILES}/.uploads/x").status_code

    assert not (root / ".uploads").exists()


@pytest.fixture
def small_disk(tmp_path):
    """Mounts 4 MiB at a path until the test has ended and its servers have."""
    mounted = []

    def mount(path):
        path.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", path], check=True)
        mounted.append(path)
        return path

    yield mount
    for path in mounted:
        subprocess.run(["umount", "--lazy", path], check=True)


@pytest.mark.needs("root")
def test_a_disk_below_the_folder_takes_uploads_too(server, root, small_disk):
    """An experiment on a mount of its own: renaming across file systems is not possible."""
    small_disk(root / "5")

    assert 200 == httpx.put(f"{server.url}{FILES}/5/a.txt", content=b"x").status_code
    assert {"5/a.txt"} == stored(root)


@pytest.mark.needs("root")
def test_a_full_disk_is_told_and_leaves_no_half_file(serve, tmp_path, small_disk):
    """507 with a reason, the older file as it was, and the server goes on."""
    disk = small_disk(tmp_path / "disk")
    server = serve({"MLFLOW_ARTIFACT_ROOT": str(disk)})
    httpx.put(f"{server.url}{FILES}/0/a", content=b"whole")
    full = httpx.put(f"{server.url}{FILES}/0/a", content=bytes(8 << 20))

    assert (507, "RESOURCE_EXHAUSTED") == (full.status_code, full.json()["error_code"])
    assert {"0/a"} == stored(disk)
    assert b"whole" == httpx.get(f"{server.url}{FILES}/0/a").content
