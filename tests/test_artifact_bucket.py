"""Artifacts in a bucket are streamed, and become objects whole or not at all."""

import os
import secrets
import socket

import httpx
import pytest

from textflow_mlflow.app.artifact_bucket import PIECE_BYTES

from . import running
from .running import FILES


@pytest.fixture
def bucket(bucket_url):
    return running.new_bucket(bucket_url)


@pytest.fixture
def server(serve, bucket, bucket_url, tmp_path):
    (tmp_path / "temporary").mkdir()
    return serve(
        {
            "MLFLOW_ARTIFACTS_DESTINATION": f"{bucket}/team",
            "STORAGE_EMULATOR_HOST": bucket_url,
            "TMPDIR": str(tmp_path / "temporary"),
        }
    )


def objects(bucket_url: str, bucket: str) -> dict[str, int]:
    """Name and size of every object."""
    listed = httpx.get(f"{bucket_url}/storage/v1/b/{bucket.removeprefix('gs://')}/o").json()
    return {item["name"]: int(item["size"]) for item in listed.get("items", [])}


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES, 3 * PIECE_BYTES - 7])
@pytest.mark.parametrize("chunked", [False, True])
def test_what_comes_back_is_what_was_sent(server, bucket, bucket_url, size, chunked):
    """On both sides of every boundary of a piece, with a length and without."""
    content = os.urandom(size)
    sent = iter([content[: size // 2], content[size // 2 :]]) if chunked else content

    assert 200 == httpx.put(f"{server.url}{FILES}/0/a.txt", content=sent, timeout=60).status_code
    found = httpx.get(f"{server.url}{FILES}/0/a.txt", timeout=60)

    assert content == found.content
    assert ("text/plain", str(size)) == (found.headers["content-type"], found.headers["content-length"])
    assert {"team/0/a.txt": size} == objects(bucket_url, bucket)


def test_a_large_artifact_takes_neither_memory_nor_disk(server, tmp_path):
    """256 MiB up and down in pieces; nothing in the temporary folder, which may be memory."""
    piece = os.urandom(1 << 20)
    before = running.peak_memory_bytes(server.process.pid)
    seen = set()

    def pieces():
        for _ in range(256):
            yield piece
            seen.update((tmp_path / "temporary").iterdir())

    httpx.put(f"{server.url}{FILES}/0/big", content=pieces(), timeout=120).raise_for_status()
    with httpx.stream("GET", f"{server.url}{FILES}/0/big", timeout=120) as answer:
        assert 256 << 20 == sum(len(chunk) for chunk in answer.iter_bytes())

    assert set() == seen
    assert running.peak_memory_bytes(server.process.pid) - before < 100 << 20


def test_an_upload_that_breaks_off_leaves_the_older_object(server, bucket, bucket_url):
    """After two pieces of a larger one: no object of what has come."""
    httpx.put(f"{server.url}{FILES}/0/a.bin", content=b"whole").raise_for_status()
    host, port = server.url.removeprefix("http://").split(":")
    length = 4 * PIECE_BYTES
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            f"PUT {FILES}/0/a.bin HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()
        )
        connection.sendall(bytes(2 * PIECE_BYTES + 5))
    assert 0 == server.stop()

    assert {"team/0/a.bin": 5} == objects(bucket_url, bucket)


def test_an_artifact_that_is_not_there_is_told_by_mlflow(server):
    """Not ours to word."""
    assert httpx.get(f"{server.url}{FILES}/0/{secrets.token_hex(4)}").status_code >= 400
