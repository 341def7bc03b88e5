"""Folders are made, checked, and handed over no further than they are the server's."""

import os
import time

import pytest

from textflow_mlflow import folders
from textflow_mlflow.errors import EXIT_FOLDERS, UserError


def test_uploads_of_a_crash_are_forgotten_after_a_day(tmp_path):
    """A younger one may be another server's, still running; a folder is not an upload."""
    (tmp_path / "folder").mkdir()
    for name, age in (("old", 2 * 86400), ("young", 60), ("folder", 2 * 86400)):
        if name != "folder":
            (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (time.time() - age,) * 2)

    folders.forget_uploads(tmp_path, older_than=time.time() - 86400)

    assert {"young", "folder"} == {path.name for path in tmp_path.iterdir()}


def test_metrics_of_earlier_processes_are_forgotten(tmp_path):
    """And nothing else in that folder."""
    for name in ("counter_1.db", "histogram_22.db", "mlflow.db", "notes"):
        (tmp_path / name).write_text("x")

    folders.forget_metrics(tmp_path)

    assert {"mlflow.db", "notes"} == {path.name for path in tmp_path.iterdir()}


@pytest.mark.needs("root")
def test_of_a_database_folder_only_the_database_is_taken_over(tmp_path):
    """A folder may be shared; the artifact folder is the server's with all that is in it."""
    database, artifacts = tmp_path / "database", tmp_path / "artifacts"
    for path in (
        database / "m.db",
        database / "m.db-wal",
        database / "report.xls",
        artifacts / "0" / "a.txt",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")

    folders.take_over(database, 10001, 10001, [database / "m.db"])
    folders.take_over(artifacts, 10001, 10001, [])

    owners = {path.name: path.stat().st_uid for path in tmp_path.rglob("*")}
    assert 0 == owners.pop("report.xls")
    assert {10001} == set(owners.values())


@pytest.mark.needs("root")
def test_a_database_that_was_put_back_is_taken_over(tmp_path):
    """As root, into a folder that is the server's already."""
    os.chown(tmp_path, 10001, 10001)
    (tmp_path / "m.db").write_text("x")

    folders.take_over(tmp_path, 10001, 10001, [tmp_path / "m.db"])

    assert 10001 == (tmp_path / "m.db").stat().st_uid


@pytest.mark.needs("root")
def test_a_link_is_taken_over_and_what_it_points_to_is_not(tmp_path):
    """A tree must not lead the server's root start to other files."""
    (tmp_path / "secret").write_text("x")
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "link").symlink_to(tmp_path / "secret")

    folders.take_over(tmp_path / "artifacts", 10001, 10001, [])

    assert 0 == (tmp_path / "secret").stat().st_uid
    assert 10001 == (tmp_path / "artifacts" / "link").lstat().st_uid


def test_the_root_of_the_file_system_is_refused(tmp_path):
    """Before anything changes hands."""
    with pytest.raises(UserError) as caught:
        folders.make([tmp_path.parents[-1]])

    assert EXIT_FOLDERS == caught.value.exit_code
