"""Command files and the directory, read from disk: all problems at once, with file, line and what to do.

A broken file never takes effect: what was read last stays in force, and readiness says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from gateway.domain.catalog import Catalog, CommandFile
from gateway.domain.directory import Directory

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
MAX_FILE = 16 * 1024 * 1024


class BadFiles(Exception):
    """`problems`: one line each, `file:line: what is wrong`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _load(path: Path, model: type[M]) -> M:
    """Raises BadFiles."""
    try:
        if path.stat().st_size > MAX_FILE:
            raise BadFiles([f"{path.name}:1: the file is larger than 16 MiB; split it"])
        source = path.read_text(encoding="utf-8")
        # The C loader, when libyaml is there: a directory of 100 000 people is read in seconds, not minutes.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        data = yaml.load(source, loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BadFiles([f"{path.name}:{line}: this is not YAML: {error.problem}"]) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that is none, text not UTF-8
        raise BadFiles([f"{path.name}:1: cannot be read as UTF-8 YAML: {error}"]) from None
    except OSError as error:
        raise BadFiles([f"{path.name}:1: cannot be read: {error.strerror}"]) from None
    try:
        return model.model_validate(data)
    except ValidationError as error:
        tree = yaml.compose(source, yaml.SafeLoader)
        raise BadFiles([_problem(path, tree, e) for e in error.errors()]) from None


def _problem(path: Path, tree: Any, error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    words = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        words = "this field is not known; remove it or correct its name"
    elif error["type"] == "missing":
        words = "this field is missing; add it"
    return f"{path.name}:{_line(tree, error['loc'])}: {where + ': ' if where else ''}{words}"


def _line(node: Any, location: tuple[Any, ...]) -> int:
    """The line of the deepest part of `location` that is in the file."""
    line = int(node.start_mark.line) + 1 if node is not None else 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            found = [(k, v) for k, v in node.value if k.value == part]
            if not found:
                return line
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            return line
    return line


def load_catalog(folder: Path) -> Catalog:
    """All `*.yaml` files directly in the folder, and no other. Raises BadFiles with every problem of every file."""
    problems: list[str] = []
    commands: list[Any] = []
    seen: dict[str, str] = {}
    paths = sorted(folder.glob("*.yaml"))
    for path in paths:
        try:
            loaded = _load(path, CommandFile)
        except BadFiles as bad:
            problems += bad.problems
            continue
        for command in loaded.commands:
            for word in (command.name, *command.aliases):
                if word in seen:
                    problems.append(f"{path.name}:1: the word `{word}` is taken already, in {seen[word]}; rename one")
                seen[word] = path.name
            commands.append(command.model_copy(update={"family": command.family or loaded.family}))
    if not paths:
        problems.append(f"{folder}: there are no command files (*.yaml); point OPSGATE_COMMANDS_DIR to them")
    if problems:
        raise BadFiles(problems)
    return Catalog(commands=tuple(commands))


def load_directory(path: Path) -> Directory:
    """Raises BadFiles."""
    return _load(path, Directory)


class Watched(Generic[T]):
    """What a file or folder says, read again when it changed. `problems` is empty when all is well."""

    def __init__(self, path: Path, load: Any) -> None:
        self._path = path
        self._load = load
        self._stamp = self._look()
        self.value: T = load(path)  # the first time a broken file is fatal: there is nothing older to keep
        self.problems: list[str] = []

    def refresh(self) -> bool:
        """Reads again if it changed; whether a new value is in force. Never raises for a broken file."""
        stamp = self._look()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            self.value = self._load(self._path)
        except BadFiles as bad:
            self.problems = bad.problems
            return False
        self.problems = []
        return True

    def _look(self) -> tuple[tuple[str, int, int], ...]:
        paths = sorted(self._path.glob("*.yaml")) if self._path.is_dir() else [self._path]
        stamps = []
        for path in paths:
            try:
                info = path.stat()
            except OSError:
                continue
            stamps.append((path.name, info.st_mtime_ns, info.st_size))
        return tuple(stamps)
