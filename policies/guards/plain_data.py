"""Data of a guard's file as it is written: read with no key twice, and no truth value taken for a number."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml


class RepeatedKey(ValueError):
    """A mapping has a key twice: the reader would keep the last value without a word."""


class _Loader(yaml.SafeLoader):
    """The safe loader, which builds plain data alone and runs nothing; only keys are looked at before it."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # a list or mapping as a key: the loader itself refuses what cannot be one
            if key.value in seen:
                raise RepeatedKey(f"line {key.start_mark.line + 1}: {key.value} stands there twice")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_json(text: str) -> Any:
    """JSON as data.

    Raises:
        ValueError: It is no JSON.
        RepeatedKey: An object has a key twice.
    """

    def once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            raise RepeatedKey(f"{next(n for n in names if names.count(n) > 1)} stands twice in one object")
        return found

    return json.loads(text, object_pairs_hook=once)


def read_yaml(text: str) -> Any:
    """YAML as data.

    Raises:
        yaml.YAMLError: It is no YAML.
        RepeatedKey: A mapping has a key twice.
    """
    return yaml.load(text, Loader=_Loader)


def no_number(data: Mapping[Any, Any], annotations: Mapping[str, Any]) -> str | None:
    """The first field whose value is a truth value where a number is asked for.

    A text that reads as a number is one: YAML takes ``1e-2`` for a text.

    Args:
        data: A mapping as it was read.
        annotations: Type of each field.
    """
    for name, value in data.items():
        asked = annotations.get(name)
        if asked in _NUMBERS and isinstance(value, bool):
            return str(name)
    return None


_NUMBERS = (int, float, int | None, float | None)
