"""Command files and the directory, read from disk: all problems at once, with file, line and what to do.

A broken file never takes effect: what was read last stays in force, and readiness says so.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from gateway.domain.catalog import Catalog, CommandFile
from gateway.domain.directory import Directory

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
MAX_FILE = 16 * 1024 * 1024
MAX_DEPTH = 50
"""Levels of nesting; beyond some thousands the YAML library takes the whole process down."""
_WORDS = {
    "extra_forbidden": "this field is not known; remove it or correct its name",
    "missing": "this field is missing; add it",
    "too_short": "this list is empty; put at least one entry into it",
    "model_type": "there must be fields here, each as `name: value`",
}
_QUOTED = re.compile(r"`([^`]+)`")


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
        _refuse_depth(path, source, loader)
        data = yaml.load(source, loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BadFiles([f"{path.name}:{line}: this is not YAML: {error.problem}"]) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that is none, text not UTF-8
        raise BadFiles([f"{path.name}:1: cannot be read as UTF-8 YAML: {str(error).splitlines()[0]}"]) from None
    except OSError as error:
        raise BadFiles([f"{path.name}:1: cannot be read: {error.strerror}"]) from None
    try:
        return model.model_validate(data)
    except ValidationError as error:
        tree = yaml.compose(source, yaml.SafeLoader)
        raise BadFiles([line for e in _own(error.errors()) for line in _problems(path, tree, e)]) from None


def _own(errors: list[Any]) -> list[Any]:
    """Without lists that are empty only because nothing in them was right."""
    inside = {e["loc"][:n] for e in errors for n in range(len(e["loc"]))}
    return [e for e in errors if e["type"] != "too_short" or e["loc"] not in inside]


def _refuse_depth(path: Path, source: str, loader: Any) -> None:
    depth = 0
    events: Any = yaml.parse(source, loader)
    for event in events:
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise BadFiles(
                [f"{path.name}:{event.start_mark.line + 1}: it nests deeper than {MAX_DEPTH}; write it flat"]
            )


def _problems(path: Path, tree: Any, error: Any) -> list[str]:
    """One error of pydantic as lines; a rule about a whole entry may have found several things, a line each."""
    where = ".".join(str(part) for part in error["loc"])
    node, line = _find(tree, error["loc"])
    if error["type"] != "value_error":
        words = _WORDS.get(error["type"], error["msg"])
        return [f"{path.name}:{line}: {where + ': ' if where else ''}{words}"]
    found = []
    for words in str(error["msg"]).removeprefix("Value error, ").splitlines():
        quoted = _QUOTED.search(words)
        at = _last_line(node, quoted[1]) if quoted else 0
        found.append(f"{path.name}:{at or line}: {where + ': ' if where else ''}{words}")
    return found


def _find(node: Any, location: tuple[Any, ...]) -> tuple[Any, int]:
    """The deepest part of `location` that is in the file, and its line."""
    line = int(node.start_mark.line) + 1 if node is not None else 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            found = [(k, v) for k, v in node.value if k.value == part]
            if not found:
                break
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return node, line


def _last_line(node: Any, text: str) -> int:
    """The line of the last place under `node` where exactly this text stands; 0 when there is none."""
    line, seen, waiting = 0, set(), [node]
    while waiting:
        here = waiting.pop()
        if isinstance(here, yaml.ScalarNode):
            if here.value == text:
                line = max(line, int(here.start_mark.line) + 1)
        elif here is not None and id(here) not in seen:
            seen.add(id(here))
            parts = [p for pair in here.value for p in pair] if isinstance(here, yaml.MappingNode) else here.value
            waiting.extend(parts)
    return line


def _line_at(path: Path, *location: str | int) -> int:
    return _find(yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader), location)[1]


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
        for number, command in enumerate(loaded.commands):
            for word in (command.name, *command.aliases):
                if word in seen:
                    line = _line_at(path, "commands", number, "name" if word == command.name else "aliases")
                    problems.append(
                        f"{path.name}:{line}: the word `{word}` is taken already, in {seen[word]}; rename one"
                    )
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
