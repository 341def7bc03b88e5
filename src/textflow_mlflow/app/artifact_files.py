"""Artifacts in a folder, streamed between client and disk: no worker held, no second copy, no half file."""

import errno
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO
from urllib.parse import quote

from anyio import AsyncFile, to_thread, wrap_file
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.types import Receive, Scope, Send

_BUFFER_BYTES = 1 << 20
UPLOADS = ".uploads"

Answer = Callable[..., Awaitable[None]]


class OpenFileResponse(FileResponse):
    """Sends the file that was opened, whole, even if another takes its place meanwhile."""

    chunk_size = _BUFFER_BYTES  # worth a change of threads

    def __init__(self, file: IO[bytes], headers: dict[str, str]):
        super().__init__(file.name, headers=headers, stat_result=os.fstat(file.fileno()))
        self.file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self.file:
            await super().__call__(scope, receive, send)

    @asynccontextmanager
    async def _open_file(self) -> AsyncIterator[AsyncFile[bytes]]:
        yield wrap_file(self.file)


class ArtifactFiles:
    """Answers GET and PUT of one artifact of an artifact `folder`."""

    def __init__(self, folder: Path):
        self.folder = folder

    async def fetch(self, path: str) -> Answer | None:
        """The artifact; None where there is none, for MLflow to say so."""
        return await to_thread.run_sync(self._file, path)

    async def store(self, path: str, request: Request) -> Answer | None:
        """Store the body under `path` when all of it is there; None where MLflow must say why not."""
        target = await to_thread.run_sync(self._target, path)
        return await self._store(target, request) if target else None

    def _file(self, path: str) -> OpenFileResponse | None:
        found = self.folder / path
        if not found.is_file() or not self._is_inside(found):
            return None
        try:
            file = found.open("rb")
        except OSError:
            return None
        return OpenFileResponse(file, artifact_headers(path))

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
            return no_answer
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            return _no_space()
        finally:
            upload.unlink(missing_ok=True)
        return JSONResponse({})


def artifact_headers(path: str) -> dict[str, str]:
    """Type and name as MLflow gives them, the name by RFC 6266 where it is not plain ASCII.

    As headers, since Starlette would add a charset to a media type.
    """
    from mlflow.utils.mime_type_utils import _guess_mime_type

    name = path.rpartition("/")[2]
    quoted = quote(name)
    named = f'filename="{name}"' if quoted == name else f"filename*=utf-8''{quoted}"
    return {"Content-Type": _guess_mime_type(path), "Content-Disposition": f"attachment; {named}"}


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
    try:
        upload.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy_in_place(upload, target)
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _copy_in_place(upload: Path, target: Path) -> None:
    """For a target on another file system, mounted somewhere below the artifact folder."""
    beside = target.with_name(f".{upload.name}")
    try:
        with upload.open("rb") as source, beside.open("wb") as file:
            shutil.copyfileobj(source, file, _BUFFER_BYTES)
            _sync(file)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def _no_space() -> Response:
    body = {
        "error_code": "RESOURCE_EXHAUSTED",
        "message": "The artifact folder is full: nothing was stored.",
    }
    return JSONResponse(body, 507, headers={"Connection": "close"})


async def no_answer(scope: Scope, receive: Receive, send: Send) -> None:
    """For a client that has gone."""
