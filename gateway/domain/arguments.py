"""From words to one canonical, typed, resolved form, and back to text. What the policy sees is what the worker runs.

Refuses everything the Command did not declare. A mistake answers with the nearest right thing and an example.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from typing import Any

from gateway.domain.catalog import Catalog, Command, Param
from gateway.domain.directory import Directory
from gateway.domain.errors import Mistake
from gateway.domain.grammar import Word, normalize, quote_word, tokenize

MAX_NUMBER = 10**15 - 1
"""Every JSON reader keeps numbers up to here exactly."""
_INTEGER = re.compile(r"-?[0-9]{1,15}")
_DURATION = re.compile(r"([0-9]{1,7})(s|m|h|d)")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+-]{0,63}")
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9]{0,15}-[0-9]{1,9}")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_TRUE, _FALSE = ("true", "yes", "on"), ("false", "no", "off")


@dataclass(frozen=True)
class Options:
    """What every Command takes beside its own arguments. `break_glass` is the incident for which it is broken."""

    reason: str = ""
    ticket: str = ""
    break_glass: str = ""


OPTIONS = tuple(f.name for f in fields(Options))


@dataclass(frozen=True)
class Asked:
    """A Command with its typed arguments; `args` has every param, null when left out."""

    command: Command
    args: dict[str, Any]
    options: Options

    @property
    def spelled(self) -> dict[str, str]:
        """The arguments that were given, as people read them."""
        return {p.name: spell(p, self.args[p.name]) for p in self.command.params if self.args[p.name] is not None}

    @property
    def text(self) -> str:
        """The canonical line; parsing it gives the same Asked."""
        words = [self.command.name]
        by_name = False
        for param in self.command.params:
            value = self.args[param.name]
            if value is None:
                by_name = True  # after a gap the rest must be named
                continue
            if not param.positional or by_name:
                words.append(f"--{param.name}")
            words.append(quote_word(spell(param, value)))
        for name, value in asdict(self.options).items():
            if value:
                words += [f"--{name.replace('_', '-')}", quote_word(value)]
        return " ".join(words)


def spell(param: Param, value: Any) -> str:
    """A typed value as it is typed."""
    if param.type == "boolean":
        return "true" if value else "false"
    if param.type == "duration":
        unit = next((u for u in "dhms" if value and value % _SECONDS[u] == 0), "s")
        return f"{value // _SECONDS[unit]}{unit}"
    return str(value)


def words_of(text: str) -> tuple[Word, ...]:
    """The words of a line, without a leading `/ops` or `ops`."""
    words = tokenize(normalize(text))
    return words[1:] if words and words[0].text in ("/ops", "ops") else words


def near(word: str, known: tuple[str, ...]) -> str | None:
    """The nearest known word, if one is near."""
    found = get_close_matches(word[:64].lower(), known, n=1, cutoff=0.6)
    return found[0] if found else None


def parse(text: str, catalog: Catalog, directory: Directory, extra_words: tuple[str, ...] = ()) -> Asked:
    """A typed line into an Asked. `extra_words`: other words that may be meant, for did-you-mean. Raises Mistake."""
    words = words_of(text)
    if not words:
        raise Mistake("Say what to do, for example:", examples=tuple(c.examples[0] for c in catalog.commands[:3]))
    command = catalog.find(words[0].text)
    if command is None:
        guess = near(words[0].text, catalog.words() + extra_words)
        rest = " ".join(quote_word(w.text) if w.quoted else w.text for w in words[1:])
        raise Mistake(
            f"There is no command `{words[0].text[:64]}`."
            + (f" Did you mean `{guess}`?" if guess else " `help` shows what there is."),
            suggestion=f"{guess} {rest}".strip() if guess else "help",
        )
    return bind(command, *_sort(command, words[1:]), directory)


def bind(command: Command, given: dict[str, Any], options: Options, directory: Directory) -> Asked:
    """Typed values for every param of the Command, defaults filled in, all checked. Raises Mistake."""
    names = {p.name: p for p in command.params}
    for name in given:
        if name not in names:
            guess = near(name, (*names, *OPTIONS))
            raise Mistake(
                f"`{command.name}` has no argument `{name[:64]}`." + (f" Did you mean `{guess}`?" if guess else ""),
                suggestion=command.usage(),
                examples=command.examples,
            )
    missing = [p for p in command.params if p.required and given.get(p.name) in (None, "")]
    if missing:
        raise Mistake(
            f"`{command.name}` needs {_list([f'the {p.name}' for p in missing])}: `{command.usage()}`",
            suggestion=command.examples[0],
            examples=command.examples,
        )
    args = {p.name: _value(command, p, given.get(p.name, p.default), directory) for p in command.params}
    args = _resolve_latest(command, args, directory)
    return Asked(command, args, _checked(options))


def _sort(command: Command, words: tuple[Word, ...]) -> tuple[dict[str, Any], Options]:
    """Which word belongs to which param."""
    params = {p.name: p for p in command.params}
    order = [p.name for p in command.params if p.positional]
    given: dict[str, Any] = {}
    queue, plain_only = list(words), False
    while queue:
        word = queue.pop(0)
        name, value = ("", None) if (word.quoted or plain_only) else _named(word.text, params)
        if word.text == "--" and not word.quoted and not plain_only:
            plain_only = True
            continue
        if name:
            if value is None:
                value = _next_value(command, name, params, queue)
        else:
            name = next((n for n in order if n not in given), "")
            value = word.text
            if not name:
                raise Mistake(
                    f"`{command.name}` takes no further argument, but `{word.text[:64]}` was given: "
                    f"`{command.usage()}`. Text with blanks goes in quotes.",
                    suggestion=command.examples[0],
                    examples=command.examples,
                )
        if name in given:
            raise Mistake(f"`{name}` was given twice.", suggestion=command.usage(), examples=command.examples)
        given[name] = value
    options = Options(**{name: given.pop(name) for name in OPTIONS if name in given})
    return given, options


def _named(text: str, params: dict[str, Param]) -> tuple[str, str | None]:
    """`--name`, `--name=value` or `name=value` (only of a declared param); otherwise no name."""
    if text.startswith("--") and len(text) > 2:
        name, equals, value = text[2:].partition("=")
        return name.replace("-", "_"), value if equals else None
    name, equals, value = text.partition("=")
    if equals and (name in params or name in OPTIONS):
        return name, value
    return "", None


def _next_value(command: Command, name: str, params: dict[str, Param], queue: list[Word]) -> str:
    param = params.get(name)
    if param and param.type == "boolean" and (not queue or queue[0].text.lower() not in _TRUE + _FALSE):
        return "true"
    if not queue or (queue[0].text.startswith("--") and not queue[0].quoted):
        raise Mistake(f"`--{name}` needs a value.", suggestion=command.examples[0], examples=command.examples)
    return queue.pop(0).text


def _value(command: Command, param: Param, raw: Any, directory: Directory) -> Any:
    if raw is None:
        return None

    def wrong(what: str, guess: str | None = None) -> Mistake:
        shown = f"`{str(raw)[:64]}` is not {what} for {param.name}."
        hint = f" Did you mean `{guess}`?" if guess else ""
        return Mistake(shown + hint, suggestion=guess and _swap(command, param, guess), examples=command.examples)

    if not isinstance(raw, str | int | bool):
        raise wrong("a simple value")
    text = str(raw).strip() if not isinstance(raw, bool) else ("true" if raw else "false")
    if param.type == "boolean":
        if text.lower() not in _TRUE + _FALSE:
            raise wrong("true or false")
        return text.lower() in _TRUE
    if param.type in ("integer", "duration"):
        return _number(param, raw if isinstance(raw, int) and not isinstance(raw, bool) else text, wrong)
    known = _known(param, directory)
    if known is not None:
        if text not in known:
            listed = f"one of {', '.join(known)}" if len(known) <= 8 else f"a known {param.name}"
            raise wrong(listed, near(text, known))
        return text
    if param.type == "version":
        if not _VERSION.fullmatch(text):
            raise wrong("a version such as 1.4.2")
        return text
    text = normalize(text)  # first: what is checked is what is decided and run
    if len(text) > param.max_length or not text:
        raise wrong(f"1 to {param.max_length} characters")
    if param.pattern and not re.fullmatch(param.pattern, text):
        raise wrong(f"of the form {param.pattern}")
    return text


def _number(param: Param, given: int | str, wrong: Any) -> int:
    """A whole number; of a duration the seconds, also when they are given as a number."""
    if isinstance(given, int):
        number = given
    elif param.type == "duration":
        match = _DURATION.fullmatch(given)
        if not match:
            raise wrong("a duration such as 90s, 15m or 2h")
        number = int(match[1]) * _SECONDS[match[2]]
    elif _INTEGER.fullmatch(given):
        number = int(given)
    else:
        raise wrong("a whole number")
    if abs(number) > MAX_NUMBER:
        raise wrong("a number of at most 15 digits")
    low, high = param.min, param.max
    if (low is not None and number < low) or (high is not None and number > high):
        unit = " seconds" if param.type == "duration" else ""
        bounds = (
            f"{low} to {high}" if low is not None and high is not None else f"at {'least' if high is None else 'most'}"
        )
        raise wrong(
            f"{bounds}{'' if low is not None and high is not None else f' {low if high is None else high}'}{unit}"
        )
    return number


def _known(param: Param, directory: Directory) -> tuple[str, ...] | None:
    """The values that exist, for params that name something that exists."""
    match param.type:
        case "enum":
            return param.choices
        case "environment":
            return directory.environments
        case "service":
            return tuple(s.name for s in directory.services)
        case "person":
            return tuple(p.id for p in directory.people)
        case _:
            return None


def _resolve_latest(command: Command, args: dict[str, Any], directory: Directory) -> dict[str, Any]:
    """`latest` becomes the version it means now, so that what is decided and approved is what runs."""
    by_type = {p.type: p.name for p in command.params}
    version, named = by_type.get("version"), by_type.get("service")
    if not version or not named or args.get(version) != "latest":
        return args
    entry = directory.service(args[named])
    if entry is None or not entry.latest:
        raise Mistake(
            f"Nobody said what the latest version of `{args[named]}` is; name one with `--{version}`.",
            examples=command.examples,
        )
    return {**args, version: entry.latest}


def _swap(command: Command, param: Param, value: str) -> str:
    """The command's first example with this param's value put right."""
    words = tokenize(command.examples[0])
    places = [p.name for p in command.params if p.positional]
    index = places.index(param.name) + 1 if param.name in places else 0
    if not index or index >= len(words):
        return f"{command.examples[0]} --{param.name} {quote_word(value)}"
    return " ".join(value if i == index else quote_word(w.text) if w.quoted else w.text for i, w in enumerate(words))


def _checked(options: Options) -> Options:
    if len(options.reason) > 1000:
        raise Mistake("The reason is longer than 1000 characters. Say it shorter and link to the rest.")
    for name, example in (("ticket", "OPS-12"), ("break_glass", "INC-42")):
        value = getattr(options, name)
        if value and not _KEY.fullmatch(value):
            option = f"--{name.replace('_', '-')}"
            raise Mistake(
                f"`{value[:40]}` is not the key of a ticket or incident. Write it like {option} {example}",
                suggestion=f"{option} {example}",
            )
    return Options(normalize(options.reason), options.ticket.upper(), options.break_glass.upper())


def _list(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
