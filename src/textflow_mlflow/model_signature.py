"""Stands in for MLflow's model signatures where numpy and pandas, which those import, are left out.

`POST runs/log-model` reads a model's signature and stores the model without it
(mlflow/models/model.py, `get_tags_dict`), so that 150 MB of libraries would do nothing else.
MLflow imports each plug-in for a tracking store in every server process, `mlflow server`
included; that is how this module gets there in time. Its scheme is nobody's.
"""

import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Any

_NAME = "mlflow.models.signature"


class ModelSignature:
    """A signature as the dictionary it came in."""

    def __init__(self, given: dict[str, Any]):
        self._given = given

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> "ModelSignature":
        """Keep what MLflow's own class would parse."""
        return cls(given)

    def to_dict(self) -> dict[str, Any]:
        """What came in."""
        return self._given


def _stand_in() -> None:
    if find_spec("numpy") and find_spec("pandas"):
        return
    module = ModuleType(_NAME, __doc__)
    module.ModelSignature = ModelSignature  # type: ignore[attr-defined]
    sys.modules.setdefault(_NAME, module)


def no_store(*_: Any, **__: Any) -> None:
    """The store that MLflow would ask for under our scheme, and never does."""
    raise NotImplementedError


_stand_in()
