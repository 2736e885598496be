"""A generator's parameters from what a user gave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ..errors import TraceError

Config = TypeVar("Config", bound=BaseModel)


def parse_config(kind: type[Config], values: Mapping[str, Any], where: str) -> Config:
    """A config of that kind with the given values, which came from ``where``.

    Raises:
        TraceError: An unknown parameter, or a value of the wrong type or out of range.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        parameter = ".".join(str(part) for part in first["loc"]) or "parameters"
        raise TraceError(f"{where}: {parameter}: {first['msg']}") from None
