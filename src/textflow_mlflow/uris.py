"""Database and artifact URIs: read as people write them, shown without their secrets."""

import re
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from .errors import BadValue

_DATABASE = re.compile(r"(?P<dialect>[a-z0-9]+)(?:\+(?P<driver>[a-z0-9]+))?://(?P<rest>.*)", re.S)
_ENCODED = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})*")
# What may follow the user's `@`: host, port, database, key=value options.
_AFTER_USER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.,-]*)(:\d+)?(/[^/@?#]*)?(\?[\w.-]+=.*)?")
_MASK = "***"


def database_uri(text: str) -> str:
    """`sqlite:///PATH` (made absolute) or `postgresql://…` with its password percent-encoded.

    A password may be written as it is or percent-encoded; `%` and two hex digits is always
    read as encoded. Raises BadValue, without the text, for anything this server cannot open.
    """
    parts = _DATABASE.fullmatch(text)
    if parts is None:
        raise BadValue(
            "is not a database URI",
            "write sqlite:////path/mlflow.db or postgresql://USER:PASSWORD@HOST/NAME; "
            "file stores, as in ./mlruns, are not served",
        )
    dialect, driver, rest = parts["dialect"], parts["driver"], parts["rest"]
    if dialect == "sqlite" and driver is None:
        return _sqlite_uri(rest)
    if dialect in ("postgres", "postgresql") and driver in (None, "psycopg2"):
        return "postgresql://" + _encoded_password(rest)
    kind = f"{dialect}+{driver}" if driver else dialect
    raise BadValue(
        f"is a {kind} URI, and this server has no driver for it", "use sqlite:/// or postgresql://"
    )


def _sqlite_uri(rest: str) -> str:
    path, query = rest.partition("?")[::2]
    if not path.startswith("/") or path in ("/", "/:memory:"):
        raise BadValue(
            "names no file, so every run would be lost with the process",
            "write sqlite:////path/mlflow.db",
        )
    absolute = Path(path[1:]).absolute()
    return f"sqlite:///{absolute}" + (f"?{query}" if query else "")


def _encoded_password(rest: str) -> str:
    """`user:p@ss@host/db` -> `user:p%40ss@host/db`: the user ends at the first `@` that a host can follow."""
    for at in (match.start() for match in re.finditer("@", rest)):
        if _AFTER_USER.fullmatch(rest[at + 1 :]):
            user, colon, password = rest[:at].partition(":")
            if not _ENCODED.fullmatch(password):
                password = quote(password, safe="")
            return f"{user}{colon}{password}@{rest[at + 1 :]}"
    if "@" not in rest and _AFTER_USER.fullmatch(rest):
        return rest
    raise BadValue(
        "has no host that can be read",
        "percent-encode the password: postgresql://USER:PASSWORD@HOST:5432/NAME",
    )


def sqlite_path(uri: str) -> Path | None:
    """The file of a URI that `database_uri` returned; None for PostgreSQL."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(uri.removeprefix("sqlite:///").partition("?")[0])


def artifacts_uri(text: str) -> str:
    """`file:///PATH` or `gs://BUCKET/PREFIX`; a bare path becomes `file://`.

    Raises BadValue for a store that this server has no client for.
    """
    try:
        parts = urlsplit(text)
    except ValueError:
        raise BadValue("is not a URI", "use file:///path or gs://bucket/prefix") from None
    if parts.scheme == "gs" and parts.netloc:
        return text.rstrip("/")
    if parts.scheme == "file" and not parts.path:
        raise BadValue("names no folder", "write file:///path")
    if parts.scheme == "" or (parts.scheme == "file" and parts.netloc in ("", "localhost")):
        path = unquote(parts.path) if parts.scheme else text
        return Path(path).absolute().as_uri()
    raise BadValue(
        f"is a {parts.scheme} URI, and this server has no client for it",
        "use file:///path or gs://bucket/prefix",
    )


def folder_path(uri: str) -> Path | None:
    """The folder of a URI that `artifacts_uri` returned; None for a bucket."""
    return Path(unquote(urlsplit(uri).path)) if uri.startswith("file:") else None


def masked(uri: str) -> str:
    """The URI with its password, and any option named like one, as `***`."""
    scheme, separator, rest = uri.partition("://")
    user, at, address = rest.rpartition("@")
    if at and ":" in user:
        user = user.partition(":")[0] + f":{_MASK}"
    shown = f"{scheme}{separator}{user}{at}{address}"
    return re.sub(r"(?i)([?&][^=&]*(?:password|passwd|secret|token)[^=&]*=)[^&]*", rf"\1{_MASK}", shown)
