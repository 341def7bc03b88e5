"""Artifacts in a folder, streamed between client and disk: no worker held, no second copy, no half file."""

import errno
import os
import re
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import IO

from anyio import to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.types import Receive, Scope, Send

# MLflow decodes a path again and reads schemes and queries out of it (mlflow/utils/uri.py,
# `validate_path_is_safe`), so a name with any of these is left to it.
_UNUSUAL = re.compile(r"[%#?\\:;\x00-\x1f\x7f]")
_BUFFER_BYTES = 1 << 20
UPLOADS = ".uploads"

Answer = Callable[..., Awaitable[None]]


class LargeFileResponse(FileResponse):
    """Read in steps that are worth a thread."""

    chunk_size = _BUFFER_BYTES


class ArtifactFiles:
    """Answers GET and PUT of /mlflow-artifacts/artifacts/PATH for an artifact `folder`."""

    def __init__(self, folder: Path, prefix: str):
        self.folder = folder
        route = "2.0/mlflow-artifacts/artifacts/"
        self.routes = (f"/api/{route}", f"{prefix}/ajax-api/{route}")

    async def answer(self, scope: Scope, receive: Receive) -> Answer | None:
        """The response, an ASGI app; None where MLflow should answer, with nothing changed."""
        method = scope["method"]
        path = self._artifact_path(scope["path"]) if method in ("GET", "PUT") else None
        if path is None:
            return None
        if method == "GET":
            return await to_thread.run_sync(self._file, path)
        target = await to_thread.run_sync(self._target, path)
        return await self._store(target, Request(scope, receive)) if target else None

    def _artifact_path(self, url_path: str) -> str | None:
        for route in self.routes:
            path = url_path.removeprefix(route)
            if path is not url_path and _is_plain(path):
                return path
        return None

    def _file(self, path: str) -> LargeFileResponse | None:
        found = self.folder / path
        if not found.is_file() or not self._is_inside(found):
            return None
        from mlflow.utils.mime_type_utils import _guess_mime_type

        # Given as a header, since Starlette would add a charset to a media type.
        headers = {"Content-Type": _guess_mime_type(path)}
        return LargeFileResponse(found, headers=headers, filename=found.name, stat_result=found.stat())

    def _target(self, path: str) -> Path | None:
        """Where to put an upload: a free name or a file, below nothing but folders."""
        target = self.folder / path
        above = next(parent for parent in target.parents if parent.exists())
        free = above.is_dir() and not target.is_dir() and not target.is_symlink()
        return target if free and self._is_inside(above) else None

    def _is_inside(self, path: Path) -> bool:
        return path.resolve().is_relative_to(self.folder.resolve())

    async def _store(self, target: Path, request: Request) -> Answer:
        upload = self.folder / UPLOADS / secrets.token_hex(16)
        try:
            upload.parent.mkdir(exist_ok=True)
            with upload.open("wb", buffering=_BUFFER_BYTES) as file:
                await _write_body(request, file)
                await to_thread.run_sync(_sync, file)
            await to_thread.run_sync(_put_in_place, upload, target)
        except ClientDisconnect:
            return _no_answer
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            return _no_space()
        finally:
            upload.unlink(missing_ok=True)
        return JSONResponse({})


def _is_plain(path: str) -> bool:
    segments = path.split("/")
    return (
        not _UNUSUAL.search(path)
        and all(segment not in ("", ".", "..") and len(os.fsencode(segment)) <= 255 for segment in segments)
        and segments[0] != UPLOADS
    )


async def _write_body(request: Request, file: IO[bytes]) -> None:
    """Raises ClientDisconnect when the client goes away before the end."""
    pending = 0
    chunks: list[bytes] = []
    async for chunk in request.stream():
        chunks.append(chunk)
        pending += len(chunk)
        if pending >= _BUFFER_BYTES:
            await to_thread.run_sync(file.writelines, chunks)
            pending, chunks = 0, []
    await to_thread.run_sync(file.writelines, chunks)


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _put_in_place(upload: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    upload.replace(target)


def _no_space() -> Response:
    body = {
        "error_code": "RESOURCE_EXHAUSTED",
        "message": "The artifact folder is full: nothing was stored.",
    }
    return JSONResponse(body, 507, headers={"Connection": "close"})


async def _no_answer(scope: Scope, receive: Receive, send: Send) -> None:
    """For a client that has gone."""
