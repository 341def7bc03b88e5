"""Artifacts in a bucket, streamed in pieces between client and Google Cloud Storage: no copy on disk."""

import mimetypes
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from anyio import to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from .artifact_files import Answer, artifact_headers, no_answer

if TYPE_CHECKING:
    from google.cloud.storage import Blob
    from google.cloud.storage.fileio import BlobWriter

# A multiple of 256 KiB, as resumable uploads ask for. A transfer keeps about three of them.
PIECE_BYTES = 8 << 20


class ArtifactBucket:
    """Answers GET and PUT of one artifact of a `gs://` destination, through MLflow's own client."""

    async def fetch(self, path: str) -> Answer | None:
        """The artifact; None where there is none, for MLflow to say so."""
        blob = await to_thread.run_sync(_stored, path)
        if blob is None or blob.content_encoding:
            return None
        headers = artifact_headers(path) | {"Content-Length": str(blob.size)}
        if blob.size <= PIECE_BYTES:
            return Response(await to_thread.run_sync(_piece, blob, 0), headers=headers)
        return StreamingResponse(_pieces(blob), headers=headers)

    async def store(self, path: str, request: Request) -> Answer | None:
        """Store the body under `path` when its last byte is there; None, for MLflow, where it is small."""
        length = request.headers.get("content-length")
        if length is not None and int(length) <= PIECE_BYTES:
            return None
        writer = await to_thread.run_sync(_writer, path)
        try:
            await _write_body(request, writer)
        except ClientDisconnect:
            return no_answer
        finally:
            # Closing the writer would make an object of what has come so far.
            writer._buffer.close()
        return JSONResponse({})


def _blob(path: str) -> "Blob":
    from mlflow.server.handlers import _get_artifact_repo_mlflow_artifacts

    repository = _get_artifact_repo_mlflow_artifacts()
    bucket, root = repository.parse_gcs_uri(repository.artifact_uri)
    return repository.client.bucket(bucket).blob(f"{root}/{path}" if root else path)


def _stored(path: str) -> "Blob | None":
    blob = _blob(path)
    return blob.bucket.get_blob(blob.name)


def _piece(blob: "Blob", start: int) -> bytes:
    """Of the object that was found; an error, never a mixture, if another has taken its place."""
    if blob.size == 0:
        return b""
    end = min(start + PIECE_BYTES, blob.size) - 1
    return blob.download_as_bytes(start=start, end=end, if_generation_match=blob.generation, checksum=None)


async def _pieces(blob: "Blob") -> AsyncIterator[bytes]:
    for start in range(0, blob.size, PIECE_BYTES):
        yield await to_thread.run_sync(_piece, blob, start)


def _writer(path: str) -> "BlobWriter":
    kind = mimetypes.guess_type(path)[0]
    return _blob(path).open("wb", chunk_size=PIECE_BYTES, content_type=kind)


async def _write_body(request: Request, writer: "BlobWriter") -> None:
    waiting = bytearray()
    async for chunk in request.stream():
        waiting += chunk
        if len(waiting) >= PIECE_BYTES:
            await to_thread.run_sync(writer.write, bytes(waiting))
            waiting.clear()
    await to_thread.run_sync(writer.write, bytes(waiting))
    await to_thread.run_sync(writer.close)
