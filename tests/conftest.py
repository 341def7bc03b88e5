"""What tests share: servers to start, and what this machine cannot offer, named at the end."""

import contextlib
import functools
import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest

from . import running

REQUIRE_EVERYTHING = os.environ.get("REQUIRE_EVERYTHING") == "1"
REMEDIES = {
    "engine": "a container engine with Compose: install Docker and start it",
    "browser": "a browser: install Chromium",
    "registry": "a registry program: install docker-registry",
    "root": "root's rights, to mount a small disk and give files away: run as root",
}
_missed: dict[str, int] = {}


def chromium() -> str | None:
    """The path of a Chromium or Chrome."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


@functools.cache
def offers(part: str) -> bool:
    """Whether this machine has what tests marked `needs(part)` run against."""
    if part == "browser":
        return chromium() is not None
    if part == "registry":
        return shutil.which("docker-registry") is not None
    if part == "root":
        return os.geteuid() == 0
    commands = (["docker", "info"], ["docker", "compose", "version"])
    return bool(shutil.which("docker")) and all(
        subprocess.run(command, capture_output=True).returncode == 0 for command in commands
    )


def pytest_configure(config):
    config.addinivalue_line("markers", "needs(part): runs only where the machine offers the part")


def pytest_runtest_setup(item):
    for mark in item.iter_markers("needs"):
        part = mark.args[0]
        if not offers(part):
            _missed[part] = _missed.get(part, 0) + 1
            if REQUIRE_EVERYTHING:
                pytest.fail(f"REQUIRE_EVERYTHING=1, and this machine lacks {REMEDIES[part]}", pytrace=False)
            pytest.skip(f"lacks {REMEDIES[part]}")


def pytest_terminal_summary(terminalreporter):
    for part, count in _missed.items():
        terminalreporter.write_line(f"NOT RUN: {count} tests need {REMEDIES[part]}", yellow=True)


@pytest.fixture(scope="session")
def common_folder():
    """A folder that the user PostgreSQL runs as can reach too, which pytest's own is not."""
    folder = Path(tempfile.mkdtemp(prefix="textflow-mlflow-"))
    folder.chmod(folder.stat().st_mode | stat.S_IXGRP | stat.S_IXOTH)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres(common_folder):
    with running.postgresql(common_folder) as server:
        yield server


@pytest.fixture(scope="session")
def bucket_url(tmp_path_factory):
    with running.bucket_server(tmp_path_factory.mktemp("bucket")) as url:
        yield url


@pytest.fixture
def serve(tmp_path):
    """Start servers with the given variables; they end with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda variables=(), *flags, folder=tmp_path: stack.enter_context(
            running.server(folder, dict(variables), *flags)
        )


@pytest.fixture
def variables(request, postgres, bucket_url):
    """`sqlite` is the default: SQLite and a folder. `postgresql` is PostgreSQL and a bucket."""
    return {} if request.param == "sqlite" else running.new_stores(postgres, bucket_url)


both_stores = pytest.mark.parametrize("variables", ["sqlite", "postgresql"], indirect=True)
