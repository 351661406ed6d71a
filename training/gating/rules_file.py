"""The gate's file: YAML laid over the one that is shipped, checked as a whole, with what is wrong named."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from features.contracts.errors import ContractError
from training.gating.rules import GateRules

SHIPPED: Final = Path(__file__).parent / "gate.yaml"
_EXAMPLE: Final = "`rules: {champion: {margin: 0.05}}`"


def load_rules(path: Path | None = None) -> GateRules:
    """Return the gate's rules: those that are shipped, changed by a file if one is named.

    Raises
    ------
    ContractError
        Naming file, member, value and what is expected.
    """
    shipped = _read(SHIPPED)
    content = shipped if path is None else _laid_over(shipped, _read(path))
    try:
        return GateRules.model_validate(content)
    except ValidationError as error:
        raise ContractError(_told(path or SHIPPED, error)) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ContractError(f"{path}: {error}; expected YAML such as {_EXAMPLE}") from error
    if not isinstance(content, dict) or not isinstance(content.get("rules", {}), dict):
        raise ContractError(f"{path}: holds {content!r:.80}; expected YAML such as {_EXAMPLE}")
    return content


def _laid_over(shipped: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the shipped content with what a file says in its place, rule by rule; rules that it names null go."""
    rules = dict(shipped["rules"])
    for name, rule in said.get("rules", {}).items():
        rules[name] = _rule_over(rules.get(name), rule)
    return {**shipped, **said, "rules": {name: rule for name, rule in rules.items() if rule is not None}}


def _rule_over(shipped: Any, said: Any) -> Any:
    """Return a rule's members over the shipped ones; one of another kind takes nothing from it."""
    if not isinstance(said, dict) or not isinstance(shipped, dict):
        return said
    same = said.get("kind", shipped["kind"]) == shipped["kind"]
    return {**shipped, **said} if same else said


def _told(path: Path, error: ValidationError) -> str:
    problems = error.errors(include_url=False)
    lines = [f"{_place(problem['loc'])}: {problem['msg']}, found {problem['input']!r:.60}" for problem in problems]
    return f"{path}: " + "; ".join(lines) + f". training/gating/gate.yaml lists all members; an example: {_EXAMPLE}"


def _place(location: tuple[int | str, ...]) -> str:
    """Return where in the file something is: what pydantic puts behind a rule's name, such as its kind, is left out."""
    parts = [str(part) for part in location]
    if parts[:1] == ["rules"] and len(parts) > 2:
        del parts[2]
    return ".".join(parts) or "all in all"
