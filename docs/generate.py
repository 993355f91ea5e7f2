"""Makes the generated references from the code: `python -m docs.generate`. A test finds what is stale.

Refuses to describe anything that is not read from the code itself.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from gateway.domain.catalog import CommandFile
from gateway.infra.files import load_catalog
from gateway.main import create_app
from gateway.settings import ROOT, Settings
from opsgate.contracts.policy import PolicyInput
from opsgate.contracts.problems import Code
from workers.settings import WorkerSettings

REFERENCE = ROOT / "docs" / "reference"
MADE = "<!-- Made by `python -m docs.generate`; edit the code instead. -->\n\n"


def documents() -> dict[Path, str]:
    """Every generated file with what it should hold."""
    return {
        ROOT / "commands" / "command.schema.json": _json(CommandFile.model_json_schema()),
        REFERENCE / "openapi.json": _json(_openapi()),
        REFERENCE / "policy-input.schema.json": _json(PolicyInput.model_json_schema(mode="serialization")),
        REFERENCE / "commands.md": MADE + _commands(),
        REFERENCE / "settings.md": MADE + _settings(),
        REFERENCE / "problems.md": MADE + _problems(),
    }


def _json(document: Any) -> str:
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _openapi() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        settings = Settings(profile="embedded", data_dir=Path(name), worker_token=SecretStr("only-to-read-the-routes"))
        app = create_app(settings)
        app.state.house.store.close()
        return app.openapi()


def _commands() -> str:
    lines = ["# The practice commands\n"]
    for command in load_catalog(ROOT / "commands").commands:
        lines += [f"## {command.name}\n", f"{command.summary}.\n", f"`{command.usage()}`\n"]
        lines += [f"Effect: {command.effect.value}. Operation: `{command.operation}`.\n"]
        if command.params:
            lines += ["| argument | type | needed | what |", "| --- | --- | --- | --- |"]
            lines += [
                f"| {p.name} | {p.type} | {'yes' if p.required else 'no'} | {p.summary} |" for p in command.params
            ]
            lines.append("")
        lines += ["```", *command.examples, "```", ""]
    return "\n".join(lines)


def _settings() -> str:
    lines = ["# Settings\n", "Environment variables. All problems are reported at start, at once.\n"]
    for title, model in (("Gateway", Settings), ("Worker", WorkerSettings)):
        lines += [f"## {title}\n", "| variable | default | what |", "| --- | --- | --- |"]
        lines += [_setting(name, model) for name in model.model_fields]
        lines.append("")
    return "\n".join(lines)


def _setting(name: str, model: type[BaseSettings]) -> str:
    field = model.model_fields[name]
    default = field.default
    if default is PydanticUndefined:
        shown = "made at start" if field.default_factory else "**needed**"
    elif isinstance(default, SecretStr):
        shown = f"`{default.get_secret_value()}`" if default.get_secret_value() else "empty"
    elif isinstance(default, Path):
        shown = f"`{default.relative_to(ROOT) if default.is_absolute() else default}`"
    else:
        shown = f"`{default}`" if default not in ("", None) else "empty"
    return f"| `OPSGATE_{name.upper()}` | {shown} | {field.description or ''} |"


def _problems() -> str:
    lines = ["# Problem codes\n", "`code` of a problem document (RFC 9457). The list is closed; switch on these.\n"]
    return "\n".join([*lines, *(f"- `{code.value}`" for code in Code), ""])


def main() -> None:
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for path, text in documents().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
