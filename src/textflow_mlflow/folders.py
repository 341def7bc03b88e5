"""The folders of the data: made, handed over from root, checked before anything is written."""

import contextlib
import glob
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

from .errors import EXIT_FOLDERS, Problem, UserError


def make(folders: list[Path]) -> None:
    """Raises UserError naming the folder that cannot be made."""
    for folder in folders:
        if folder == Path("/"):
            raise UserError(
                Problem("/ cannot be a folder for data", "name a folder below it"), exit_code=EXIT_FOLDERS
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(_unwritable(folder, error.strerror), exit_code=EXIT_FOLDERS) from None


def check_writable(folders: list[Path]) -> None:
    """Raises UserError with every folder that this process cannot write."""
    problems = [_unwritable(f, "") for f in folders if not os.access(f, os.R_OK | os.W_OK | os.X_OK)]
    if problems:
        raise UserError(*problems, exit_code=EXIT_FOLDERS)


def _unwritable(folder: Path, reason: str | None) -> Problem:
    return Problem(
        f"cannot write {folder} as uid {os.geteuid()}" + (f": {reason}" if reason else ""),
        f"mount a folder there, and give it to that user: chown -R {os.geteuid()} FOLDER",
    )


def hand_over(folders: list[Path], database_files: list[Path], name: str) -> None:
    """Give the folders to the user `name`, as Docker makes missing mounts as root, then give up root.

    Of a database's folder only the database: what else is there may be somebody else's.
    """
    try:
        user = pwd.getpwnam(name)
        for folder in folders:
            files = [file for file in database_files if file.parent == folder]
            take_over(folder, user.pw_uid, user.pw_gid, files)
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    except KeyError:
        raise UserError(Problem(f"there is no user {name}", "name one of /etc/passwd")) from None
    except OSError as error:
        raise UserError(
            Problem(
                f"cannot hand over from root to {name}: {error.strerror}",
                "mount the folders for writing and allow the capabilities CHOWN, DAC_OVERRIDE, SETGID "
                "and SETUID, or start with --user 10001",
            ),
            exit_code=EXIT_FOLDERS,
        ) from None


def take_over(folder: Path, uid: int, gid: int, database_files: list[Path]) -> None:
    """Own the folder last: one that is owned already means that all in it is.

    Not so beside a database, where a person may have put back a copy of it.
    """
    if folder.stat().st_uid == uid and not database_files:
        return
    for path in _below(folder, database_files):
        os.chown(path, uid, gid, follow_symlinks=False)
    os.chown(folder, uid, gid)


def _below(folder: Path, database_files: list[Path]) -> Iterator[Path]:
    if database_files:
        for file in database_files:
            yield from folder.glob(f"{glob.escape(file.name)}*")
        return
    for place, folders, files in os.walk(folder, topdown=False):
        yield from (Path(place, name) for name in (*folders, *files))


def forget_uploads(folder: Path, older_than: float) -> None:
    """Remove what uploads cut off by a crash have left."""
    for upload in folder.glob("*"):
        # Another server on the same folder may be quicker.
        with contextlib.suppress(OSError):
            if upload.stat().st_mtime < older_than:
                upload.unlink()


def forget_metrics(folder: Path) -> None:
    """Remove the files of earlier processes, which prometheus-client would add to this one's for ever."""
    for kind in ("counter", "gauge", "histogram", "summary"):
        for file in folder.glob(f"{kind}_*.db"):
            file.unlink(missing_ok=True)
