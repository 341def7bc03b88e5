"""The folders of the data: made, handed over from root, checked before anything is written."""

import os
import pwd
from pathlib import Path

from .errors import EXIT_FOLDERS, Problem, UserError


def make(folders: list[Path]) -> None:
    """Raises UserError naming the folder that cannot be made."""
    for folder in folders:
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


def hand_over(folders: list[Path], user: pwd.struct_passwd) -> None:
    """Give the folders to `user`, as Docker makes missing mounts as root, then give up root."""
    try:
        for folder in folders:
            take_over(folder, user.pw_uid, user.pw_gid)
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    except PermissionError as error:
        raise UserError(
            Problem(
                f"cannot hand over from root to {user.pw_name}: {error.strerror}",
                "allow the capabilities CHOWN, DAC_OVERRIDE, SETGID and SETUID, "
                f"or start with --user {user.pw_uid}",
            ),
            exit_code=EXIT_FOLDERS,
        ) from None


def take_over(folder: Path, uid: int, gid: int) -> None:
    """Own the tree, its top last: a top that is owned already means that all of it is."""
    if folder.stat().st_uid == uid:
        return
    for place, folders, files in os.walk(folder, topdown=False):
        for name in (*folders, *files):
            os.chown(Path(place, name), uid, gid, follow_symlinks=False)
    os.chown(folder, uid, gid)


def forget_uploads(folder: Path, older_than: float) -> None:
    """Remove what uploads cut off by a crash have left."""
    for upload in folder.glob("*"):
        if upload.stat().st_mtime < older_than:
            upload.unlink(missing_ok=True)


def forget_metrics(folder: Path) -> None:
    """Remove the files of earlier processes, which prometheus-client would add to this one's for ever."""
    for kind in ("counter", "gauge", "histogram", "summary"):
        for file in folder.glob(f"{kind}_*.db"):
            file.unlink(missing_ok=True)
