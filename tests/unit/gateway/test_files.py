"""Command files and the directory: every mistake at once with its place, and a broken file never takes effect."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.domain.catalog import Catalog
from gateway.domain.directory import Directory
from gateway.infra.files import MAX_FILE, BadFiles, Watched, load_catalog, load_directory
from gateway.settings import ROOT

COMMAND = """\
family: {family}
commands:
  - name: {name}
    summary: Says hello
    effect: read
    operation: sandbox.hello
    inputs: {{}}
    examples: [{name}]
"""
BROKEN = """\
family: Broken
commands:
  - name: one
    summary: Nothing right about it
    effect: perhaps
    operation: sandbox.one
    inputs: {}
    examples: [one]
    approvers: [alice]
  - name: two
    summary: Two params of one name, and one that is not there
    effect: write
    operation: sandbox.two
    params:
      - {name: what, type: string}
      - {name: where, type: environment}
      - {name: what, type: string}
    target: {service: "{whose}"}
    inputs: {}
    examples: [two]
  - name: three
    summary: Its operation is missing
    effect: write
    inputs: {}
    examples: []
"""
DIRECTORY = """\
environments: [staging]
people:
  - id: ann
    name: Ann
    identities: ["slack:T1/U1"]
  - id: ben
    name: Ben
    identities: ["slack:T1/U1"]
  - id: ann
    name: Another Ann
services:
  - name: shop
    environments: [staging, moon]
"""


def problems_of(load: Callable[[Path], object], path: Path) -> list[str]:
    with pytest.raises(BadFiles) as bad:
        load(path)
    assert str(bad.value) == "\n".join(bad.value.problems)
    return bad.value.problems


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


def command(name: str, family: str = "Tests") -> str:
    return COMMAND.format(name=name, family=family)


def test_what_is_shipped_is_right() -> None:
    """The files people copy from."""
    assert load_catalog(ROOT / "commands").find("deploy") is not None
    assert load_directory(ROOT / "examples" / "acme" / "directory.yaml").person("alice") is not None


def test_every_problem_of_every_file_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    """Nobody mends one mistake to be told of the next; what is wrong in one file does not hide another."""
    write(tmp_path, a=BROKEN, b="family: [\n", c=command("fine"), d="just text")
    problems = problems_of(load_catalog, tmp_path)
    assert problems == [
        "a.yaml:5: commands.0.effect: Input should be 'read', 'write' or 'destroy'",
        "a.yaml:9: commands.0.approvers: this field is not known; remove it or correct its name",
        "a.yaml:17: commands.1: param `what` stands twice",
        "a.yaml:18: commands.1: `{whose}` is not a param",
        "a.yaml:21: commands.2.operation: this field is missing; add it",
        "a.yaml:25: commands.2.examples: this list is empty; put at least one entry into it",
        "b.yaml:2: this is not YAML: did not find expected node content",
        "d.yaml:1: there must be fields here, each as `name: value`",
    ]


def test_lists_that_are_empty_in_several_commands_are_all_told(tmp_path: Path) -> None:
    """A file whose only problems are of one kind is broken too, and is never left out in silence."""
    empty = command("one").replace("[one]", "[]") + command("two").replace("[two]", "[]").partition("commands:\n")[2]
    assert [p.split(": ")[0] for p in problems_of(load_catalog, write(tmp_path, a=empty))] == ["a.yaml:8", "a.yaml:14"]


def test_a_word_taken_twice_names_both_places(tmp_path: Path) -> None:
    """The line of the second one, the file of the first."""
    write(tmp_path, a=command("hello"), b="# one line more\n" + command("hello"))
    assert problems_of(load_catalog, tmp_path) == ["b.yaml:4: the word `hello` is taken already, in a.yaml; rename one"]


def test_an_empty_folder_says_which_setting_to_correct(tmp_path: Path) -> None:
    """An empty catalog would be a gateway that refuses everything in silence."""
    (problem,) = problems_of(load_catalog, tmp_path)
    assert "OPSGATE_COMMANDS_DIR" in problem


def test_only_yaml_files_directly_in_the_folder_are_read(tmp_path: Path) -> None:
    """Nothing becomes runnable by falling into a folder unseen."""
    write(tmp_path, a=command("hello"))
    (tmp_path / "deeper").mkdir()
    write(tmp_path / "deeper", b=command("deeper"))
    (tmp_path / "c.yaml.bak").write_text(command("backup"))
    assert load_catalog(tmp_path).words() == ("hello",)


def test_every_problem_of_the_directory_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    """What stands twice is named where it stands the second time."""
    write(tmp_path, people=DIRECTORY)
    assert problems_of(load_directory, tmp_path / "people.yaml") == [
        "people.yaml:9: person `ann` stands twice",
        "people.yaml:8: chat identity `slack:T1/U1` stands twice",
        "people.yaml:12: service `shop` names environment `moon`, which is not in `environments`",
    ]


def test_a_missing_file_is_one_line() -> None:
    """Not a traceback."""
    assert problems_of(load_directory, Path("/nowhere/people.yaml")) == [
        "people.yaml:1: cannot be read: No such file or directory"
    ]


HOSTILE: dict[str, bytes] = {
    "deep flow": b"[" * 100_000,
    "deep blocks": b"- " * 100_000,
    "deep and whole": b"a: " + b"{a: " * 600 + b"1" + b"}" * 600,
    "recursive": b"&a [*a]",
    "a million laughs": b"a: &a [x, x]\n"
    + b"".join(b"%c: &%c [*%c, *%c, *%c, *%c]\n" % (n + 1, n + 1, n, n, n, n) for n in range(97, 121)),
    "python object": b"!!python/object/apply:os.system ['false']",
    "not UTF-8": b"a: \xff\xfe",
    "NUL": b"a: \x00",
    "a date that is none": b"family: 2026-99-99",
    "two documents": b"---\na: 1\n---\nb: 2\n",
    "numbers for names": b"1: 2\n",
    "nothing": b"",
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("load", [load_catalog, load_directory])
def test_no_file_takes_the_gateway_down(tmp_path: Path, load: Callable[[Path], object], name: str) -> None:
    """Whatever is in it: told in lines, each with a place, none of them long."""
    path = tmp_path / "hostile.yaml"
    path.write_bytes(HOSTILE[name])
    if load is load_directory and name == "nothing":
        path.write_bytes(b"# nothing but a remark")
    problems = problems_of(load, tmp_path if load is load_catalog else path)
    for problem in problems:
        file, line, words = problem.split(":", 2)
        assert (file, line.isdigit()) == ("hostile.yaml", True), problem
        assert "\n" not in words
        assert len(words) < 300


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    """It says what to do with it."""
    with (tmp_path / "large.yaml").open("wb") as file:
        file.truncate(MAX_FILE + 1)
    assert problems_of(load_catalog, tmp_path) == ["large.yaml:1: the file is larger than 16 MiB; split it"]


# ---- read again while the gateway runs ---------------------------------------------------------------------------


def test_a_change_takes_effect_without_a_restart_and_no_change_costs_nothing(tmp_path: Path) -> None:
    """A new file, a changed one, one taken away."""
    watched: Watched[Catalog] = Watched(write(tmp_path, a=command("one")), load_catalog)
    before = watched.value
    assert not watched.refresh()
    assert watched.value is before
    write(tmp_path, b=command("second"))
    assert watched.refresh()
    assert watched.value.words() == ("one", "second")
    (tmp_path / "a.yaml").unlink()
    assert watched.refresh()
    assert watched.value.words() == ("second",)


def test_a_broken_change_keeps_the_old_and_says_so_until_it_is_mended(tmp_path: Path) -> None:
    """The whole old catalog: the good half of a change does not take effect alone."""
    watched: Watched[Catalog] = Watched(write(tmp_path, a=command("one"), b=command("two")), load_catalog)
    old = watched.value
    write(tmp_path, a=command("changed"), b="family: [")
    assert not watched.refresh()
    assert watched.value is old
    (problem,) = watched.problems
    assert problem.startswith("b.yaml:2: this is not YAML")
    assert not watched.refresh(), "what is broken still is not read again and again"
    assert watched.problems == [problem]
    write(tmp_path, b=command("two"))
    assert watched.refresh()
    assert watched.problems == []
    assert watched.value.words() == ("changed", "two")


def test_a_directory_that_vanishes_or_locks_everybody_out_by_a_slip_stays_in_force(tmp_path: Path) -> None:
    """People are not lost because somebody's editor writes in two steps."""
    path = tmp_path / "people.yaml"
    path.write_text("people: [{id: ann, name: Ann}]\n")
    watched: Watched[Directory] = Watched(path, load_directory)
    for broken in (None, "", "people: [{id: ann}]\n", "[" * 5_000):
        if broken is None:
            path.unlink()
        else:
            path.write_text(broken)
        assert not watched.refresh()
        assert watched.problems
        assert watched.value.person("ann") is not None
    path.write_text("people: [{id: ben, name: Ben}]\n")
    assert watched.refresh()
    assert watched.problems == []
    assert watched.value.person("ann") is None
    assert watched.value.person("ben") is not None


def test_the_first_time_a_broken_file_is_fatal(tmp_path: Path) -> None:
    """There is nothing older to keep."""
    with pytest.raises(BadFiles):
        Watched(write(tmp_path, a="family: ["), load_catalog)


def test_a_change_is_seen_whole_or_not_at_all(tmp_path: Path) -> None:
    """Whoever looks while it is read sees the old catalog or the new one, never some of each."""
    write(tmp_path, a=command("old", "Old"), b=command("old-too", "Old"))
    watched: Watched[Catalog] = Watched(tmp_path, load_catalog)
    seen: set[tuple[str, ...]] = set()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            seen.add(watched.value.words())

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for turn in range(20):
            name = ("new", "old")[turn % 2]
            write(tmp_path, a=command(name + "s" * turn), b=command(f"{name}-too"))
            assert watched.refresh()
            seen.add(watched.value.words())
    finally:
        over.set()
        looking.join()
    allowed = {("old", "old-too")} | {(n + "s" * t, f"{n}-too") for t in range(20) for n in [("new", "old")[t % 2]]}
    assert seen <= allowed
