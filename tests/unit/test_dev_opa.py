"""Getting the policy engine: which OPA is taken, and which is refused."""

from __future__ import annotations

import hashlib
import http.server
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.opa import MODULE_SUM, NoOpa, cached_path, find, release_asset

FAKE_OPA = b"#!/bin/sh\necho 'Version: 1.22.2'\n"


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    """A machine of its own: an almost empty PATH, a cache and a home in the temporary folder."""
    (tmp_path / "bin").mkdir(exist_ok=True)
    return {"PATH": f"{tmp_path / 'bin'}:/bin", "OPSGATE_CACHE": str(tmp_path / "cache"), "HOME": str(tmp_path), **more}


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[str]:
    """A loopback copy of a release folder that holds one asset."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / release_asset()).write_bytes(FAKE_OPA)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, format: str, *args: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_supported_opa_on_path_is_taken(tmp_path: Path) -> None:
    """What a person already has is used as it is."""
    own = program(tmp_path / "bin" / "opa", "echo 'Version: 1.21.3'")
    assert find(environment(tmp_path)) == own


def test_an_old_opa_on_path_is_passed_over_for_the_cached_one(tmp_path: Path) -> None:
    """Under 1.21.3 a bundle's signature could be side-stepped."""
    program(tmp_path / "bin" / "opa", "echo 'Version: 1.21.2'")
    env = environment(tmp_path)
    cached = program(cached_path(env), "echo 'Version: 1.22.2'")
    assert find(env) == cached


def test_the_cache_follows_the_xdg_variable(tmp_path: Path) -> None:
    """OPSGATE_CACHE first, then XDG_CACHE_HOME, then ~/.cache."""
    assert cached_path({"XDG_CACHE_HOME": "/x"}) == Path("/x/opsgate/opa-1.22.2/opa")
    assert cached_path({"OPSGATE_CACHE": "/c", "XDG_CACHE_HOME": "/x"}) == Path("/c/opa-1.22.2/opa")


def test_go_builds_it_when_the_module_sum_is_the_pinned_one(tmp_path: Path) -> None:
    """The sum is compared before anything of the module is compiled."""
    program(
        tmp_path / "bin" / "go",
        f"""case $1 in
        mod) echo '{{"Sum": "{MODULE_SUM}"}}';;
        install) printf '#!/bin/sh\\necho Version: 1.22.2\\n' > $GOBIN/opa; chmod +x $GOBIN/opa;;
        esac""",
    )
    env = environment(tmp_path)
    assert find(env) == cached_path(env)


def test_another_module_sum_is_refused_and_never_compiled(tmp_path: Path) -> None:
    """A changed module is not built, and the message names both sums."""
    program(tmp_path / "bin" / "go", f'[ $1 = install ] && touch {tmp_path}/built; echo \'{{"Sum": "h1:other="}}\'')
    with pytest.raises(NoOpa, match=r"the module sum is h1:other="):
        find(environment(tmp_path))
    assert not (tmp_path / "built").exists()


def test_the_release_is_taken_when_its_hash_is_the_pinned_one(tmp_path: Path, mirror: str) -> None:
    """The address may be a mirror, the hash may not change."""
    env = environment(tmp_path, OPSGATE_OPA_MIRROR=mirror)
    assert find(env, {release_asset(): hashlib.sha256(FAKE_OPA).hexdigest()}) == cached_path(env)


def test_a_release_with_another_hash_is_thrown_away(tmp_path: Path, mirror: str) -> None:
    """Nothing of it stays in the cache."""
    env = environment(tmp_path, OPSGATE_OPA_MIRROR=mirror)
    with pytest.raises(NoOpa, match="it was thrown away"):
        find(env, {release_asset(): "0" * 64})
    assert list(cached_path(env).parent.iterdir()) == []


def test_a_platform_without_a_pinned_hash_is_refused(tmp_path: Path, mirror: str) -> None:
    """Nothing is downloaded on trust; a person may give the hash they checked."""
    env = environment(tmp_path, OPSGATE_OPA_MIRROR=mirror)
    with pytest.raises(NoOpa, match=f"no SHA-256 is pinned for {release_asset()}.*OPSGATE_OPA_SHA256"):
        find(env, {})
    assert find({**env, "OPSGATE_OPA_SHA256": hashlib.sha256(FAKE_OPA).hexdigest()}, {}) == cached_path(env)


def test_no_way_to_get_it_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    """Every way that was tried, why it failed, and what helps."""
    with pytest.raises(NoOpa) as caught:
        find(environment(tmp_path), {})
    said = str(caught.value)
    assert "\n" not in said
    assert "no go on PATH" in said
    assert "Put an opa 1.21.3 or newer on PATH, or install Go" in said
