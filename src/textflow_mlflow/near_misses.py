"""Names in the environment that nobody reads and that look like a setting's."""

import difflib
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from .errors import Problem
from .settings import VARIABLES


def near_misses(environ: Mapping[str, str]) -> list[Problem]:
    """A warning for each, with the name that was probably meant."""
    known = {v.name for v in VARIABLES} | {v.file_name for v in VARIABLES if v.file_name}
    bare = {name.removeprefix("MLFLOW_"): name for name in known}
    del bare["HOST"], bare["PORT"], bare["WORKERS"]  # common names of other programs
    unread = [n for n in environ if n.startswith("MLFLOW_") and environ[n] and n not in known]
    meant = {name: bare[name] for name in environ if name in bare and bare[name] not in environ}
    if unread:
        mlflow_own = _names_mlflow_reads()
        for name in unread:
            close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.75)
            if close and name not in mlflow_own:
                meant[name] = close[0]
    return [
        Problem(f"{name} is set, and nothing reads it", f"did you mean {other}?")
        for name, other in sorted(meant.items())
    ]


def _names_mlflow_reads() -> set[str]:
    """MLflow's own table, read as text: importing MLflow for it would double the start-up time."""
    spec = find_spec("mlflow")
    if spec is None or spec.origin is None:
        return set()
    table = Path(spec.origin).with_name("environment_variables.py").read_text("utf-8")
    return set(re.findall(r"\"(_?MLFLOW_\w+)\"", table))
