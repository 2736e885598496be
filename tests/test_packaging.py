"""Every package folder is installed, and the layers import in one direction only."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ("traces", "envs", "policies", "experiments")


def _package_folders() -> set[str]:
    return {
        "handrail." + ".".join(path.parent.relative_to(ROOT).parts)
        for layer in LAYERS
        for path in (ROOT / layer).rglob("__init__.py")
    }


def test_every_package_folder_is_listed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert set(listed) == _package_folders()
    assert len(listed) == len(set(listed))


def test_every_folder_with_code_is_a_package():
    for layer in LAYERS:
        for path in (ROOT / layer).rglob("*.py"):
            assert (path.parent / "__init__.py").exists(), path


@pytest.mark.parametrize("layer", LAYERS)
def test_each_layer_is_typed(layer):
    assert (ROOT / layer / "py.typed").exists()


def _imported_layers(path: Path) -> set[str]:
    """Top-level layers that a file imports, relative imports resolved."""
    package = path.relative_to(ROOT).parent.parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            parts = base + tuple((node.module or "").split(".")) if node.module else base
            if parts:
                found.add(parts[0])
            else:
                found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("handrail."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("handrail.")}
    return found & set(LAYERS)


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_point_one_way(layer):
    allowed = set(LAYERS[: LAYERS.index(layer) + 1])
    for path in (ROOT / layer).rglob("*.py"):
        assert _imported_layers(path) <= allowed, path


def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {a.name.split(".")[0] for a in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").split(".")[0])
    return names


def test_only_the_environment_knows_gymnasium():
    names = (
        "llm_serving/environment",
        "cluster/environment",
        "cluster/placement_environment",
        "cluster/episodes",
        "prefetch/environment",
    )
    allowed = {ROOT / f"envs/{name}.py" for name in (*names, "common/registration")}
    for path in (ROOT / "envs").rglob("*.py"):
        if path not in allowed:
            assert "gymnasium" not in _imports(path), path


def test_torch_stays_in_policies_learning():
    for layer in LAYERS:
        for path in (ROOT / layer).rglob("*.py"):
            if "learning" not in path.parts:
                assert not _imports(path) & {"torch", "stable_baselines3", "sb3_contrib"}, path


def test_guards_import_no_policy():
    guards = ROOT / "policies/guards"
    allowed = {"interface"}
    for path in guards.rglob("*.py"):
        package = path.relative_to(ROOT).parent.parts
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = package[: len(package) - node.level + 1]
                target = base + tuple((node.module or "").split("."))
                if target[0] == "policies" and target[1:2] != ("guards",):
                    assert target[1] in allowed, (path, target)
