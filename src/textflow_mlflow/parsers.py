"""What the text of a setting may be: numbers, flags, names, paths. Each raises BadValue."""

from pathlib import Path

from .errors import BadValue

_TRUE = {"true", "1", "yes", "y", "on", "t"}
_FALSE = {"false", "0", "no", "n", "off", "f"}
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def port_number(text: str) -> int:
    """1 to 65535."""
    if text.startswith("tcp://"):
        raise BadValue(
            "is an address that Kubernetes sets for a service named mlflow",
            "set enableServiceLinks: false in the pod, or name the service otherwise",
        )
    return whole_number(text, 1, 65535)


def whole_number(text: str, low: int = 0, high: int = 2**31) -> int:
    """Raises BadValue outside `low`..`high`."""
    if not text.isdecimal() or not low <= int(text) <= high:
        raise BadValue(f"is not a whole number from {low} to {high}", "write one, in digits alone")
    return int(text)


def worker_count(text: str) -> int:
    """1 to 64 processes."""
    return whole_number(text, 1, 64)


def yes_or_no(text: str) -> bool:
    """The spellings that click, and so MLflow, takes for a flag."""
    if text.lower() not in _TRUE | _FALSE:
        raise BadValue("is neither true nor false", "write true or false")
    return text.lower() in _TRUE


def level_name(text: str) -> str:
    """A level of Python's logging, upper case."""
    if text.upper() not in _LEVELS:
        raise BadValue("is not a logging level", f"write one of {', '.join(_LEVELS)}")
    return text.upper()


def absolute_path(text: str) -> str:
    """The path from the root of the file system, `~` included."""
    try:
        return str(Path(text).expanduser().absolute())
    except RuntimeError:
        raise BadValue("names the home of nobody known", "write the path from /") from None


def database_path(text: str) -> str:
    """A path that a URI can hold: `?` would end it there."""
    if "?" in text:
        raise BadValue("holds a ?, where a URI's path ends", "choose a path without it")
    return absolute_path(text)


def number_or_none(text: str) -> int:
    """A whole number, or -1, SQLAlchemy's word for none."""
    return -1 if text == "-1" else whole_number(text)


def url_prefix(text: str) -> str:
    """MLflow's rule: begins with `/`, does not end with one."""
    if not text.startswith("/") or text.endswith("/"):
        raise BadValue("must begin with / and not end with one", "write it as in /mlflow")
    return text
