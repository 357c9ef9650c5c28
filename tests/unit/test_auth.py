"""Who may call the control plane: roles, rotation by a change of the file, and files that do not hold."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from ra_guard.rpc.auth import (
    REQUIRED,
    Authoriser,
    BadTokenFile,
    Metadata,
    PermissionDenied,
    Principal,
    Role,
    Unauthenticated,
)

NAMES = {Role.OPERATOR: "ana", Role.REPLICA: "search-fleet", Role.VIEWER: "dashboard"}
ALLOWED = {
    Role.VIEWER: {"Get", "List", "Assign", "GetPlan", "GetLedger", "Preview"},
    Role.REPLICA: {"Get", "List", "Assign", "GetPlan", "GetLedger", "Preview", "Watch", "Poll"},
    Role.OPERATOR: set(REQUIRED),
}


def table(name: str, role: str, token: str) -> str:
    return f'[{name}]\nrole = "{role}"\nsha256 = "{hashlib.sha256(token.encode()).hexdigest()}"\n'


def bearing(token: str) -> Metadata:
    return [("user-agent", "a test"), ("authorization", f"Bearer {token}")]


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    path = tmp_path / "tokens.toml"
    path.write_text("".join(table(name, role.value, f"{name}'s secret") for role, name in NAMES.items()))
    return path


@pytest.mark.parametrize("method", REQUIRED)
@pytest.mark.parametrize("role", Role)
def test_a_role_may_what_it_may_and_nothing_else(tokens: Path, method: str, role: Role) -> None:
    name = NAMES[role]
    authoriser = Authoriser(tokens)
    if method in ALLOWED[role]:
        assert authoriser.admit(method, bearing(f"{name}'s secret")) == Principal(name)
        return
    with pytest.raises(PermissionDenied) as refused:
        authoriser.admit(method, bearing(f"{name}'s secret"))
    assert name in str(refused.value)
    assert method in str(refused.value)


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        [("authorization", "")],
        [("authorization", "Basic YTpi")],
        [("authorization", b"Bearer ana's secret")],
        [("token", "Bearer ana's secret")],
    ],
)
def test_without_a_bearer_token_nobody_is_admitted(tokens: Path, metadata: Metadata) -> None:
    with pytest.raises(Unauthenticated, match="found no bearer token"):
        Authoriser(tokens).admit("Get", metadata)


@pytest.mark.parametrize("token", ["", "ana", "ana's secret ", "ANA'S SECRET", "é", "x" * 10_000])
def test_wrong_tokens_are_answered_alike(tokens: Path, token: str) -> None:
    with pytest.raises(Unauthenticated) as refused:
        Authoriser(tokens).admit("Get", bearing(token))
    assert str(refused.value) == "found a token that nobody was given, wanted one of control.tokens; ask its owner"


def test_the_digest_of_a_token_is_no_token(tokens: Path) -> None:
    with pytest.raises(Unauthenticated):
        Authoriser(tokens).admit("Get", bearing(hashlib.sha256(b"ana's secret").hexdigest()))


def test_without_a_file_everyone_may_everything() -> None:
    assert all(Authoriser(None).admit(method, []) == Principal(None) for method in REQUIRED)


def replaced(path: Path, text: str) -> None:
    """As an operator's tools do it: another file under the same name."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def test_tokens_are_rotated_by_replacing_the_file(tokens: Path) -> None:
    authoriser = Authoriser(tokens)
    authoriser.admit("Kill", bearing("ana's secret"))
    replaced(tokens, table("ana", "operator", "another") + table("ben", "viewer", "ben's secret"))
    assert authoriser.admit("Kill", bearing("another")) == Principal("ana")
    assert authoriser.admit("Get", bearing("ben's secret")) == Principal("ben")
    with pytest.raises(Unauthenticated):
        authoriser.admit("Kill", bearing("ana's secret"))


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


BROKEN: dict[str, Callable[[Path], object]] = {
    "gone": lambda path: path.unlink(),
    "a folder": folder_instead,
    "not TOML": lambda path: replaced(path, "[ana"),
    "not text": lambda path: path.write_bytes(b"\xff\xfe\x00"),
    "an unknown role": lambda path: replaced(path, table("ana", "root", "x")),
    "an unknown word": lambda path: replaced(path, table("ana", "viewer", "x") + "rule = 1\n"),
    "no digest": lambda path: replaced(path, '[ana]\nrole = "viewer"\n'),
    "a token instead of its digest": lambda path: replaced(path, '[ana]\nrole = "viewer"\nsha256 = "secret"\n'),
    "an empty name": lambda path: replaced(path, table('""', "viewer", "x")),
    "no table": lambda path: replaced(path, "ana = 1\n"),
}


@pytest.mark.parametrize("damage", BROKEN)
def test_a_file_that_does_not_hold_admits_nobody_until_it_does(tokens: Path, damage: str) -> None:
    whole = tokens.read_text()
    authoriser = Authoriser(tokens)
    authoriser.admit("Get", bearing("ana's secret"))
    BROKEN[damage](tokens)
    for _ in range(2):
        with pytest.raises(BadTokenFile) as refused:
            authoriser.admit("Get", bearing("ana's secret"))
        assert "secret" not in str(refused.value)
    with pytest.raises(BadTokenFile):
        Authoriser(tokens)
    if tokens.is_dir():
        tokens.rmdir()
    replaced(tokens, whole)
    assert authoriser.admit("Get", bearing("ana's secret")) == Principal("ana")


def test_an_empty_file_admits_nobody(tokens: Path) -> None:
    tokens.write_text("")
    with pytest.raises(Unauthenticated):
        Authoriser(tokens).admit("Get", bearing("ana's secret"))


def test_who_signs_is_the_token_and_who_it_says_it_is() -> None:
    assert Principal(None).signs("ana") == "ana"
    assert Principal("ana").signs("ana") == "ana"
    assert Principal("ana").signs("") == "ana"
    assert Principal("deploy-bot").signs("ana") == "deploy-bot (as ana)"
