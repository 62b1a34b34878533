"""Rules of security that only the whole source can break (service.md section 6)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml"}


def nodes() -> Iterator[tuple[str, ast.AST]]:
    """Every node of the product's source, and where it stands."""
    for folder in ("core", "daemon", "migrations"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}", node


def imported(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Import):
        return {name.name.split(".")[0] for name in node.names}
    return {node.module.split(".")[0]} if isinstance(node, ast.ImportFrom) and node.module else set()


def keyword(call: ast.Call, name: str) -> object:
    return next((ast.unparse(word.value) for word in call.keywords if word.arg == name), None)


def test_nothing_that_can_run_what_it_loads_is_imported() -> None:
    assert [where for where, node in nodes() if imported(node) & UNSAFE_MODULES] == []


def test_every_load_of_tensors_says_weights_only() -> None:
    loads = [
        (where, keyword(node, "weights_only"))
        for where, node in nodes()
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "load_state_dict")
    ]
    assert loads
    assert [where for where, value in loads if value != "True"] == []


def test_numpy_files_are_never_unpickled() -> None:
    calls = [(where, node) for where, node in nodes() if isinstance(node, ast.Call)]
    assert [where for where, call in calls if keyword(call, "allow_pickle") == "True"] == []


def test_no_command_goes_through_a_shell_and_nothing_is_evaluated() -> None:
    calls = [(where, node) for where, node in nodes() if isinstance(node, ast.Call)]
    assert [where for where, call in calls if keyword(call, "shell") is not None] == []
    assert [where for where, call in calls if ast.unparse(call.func) in ("eval", "exec", "os.system")] == []
