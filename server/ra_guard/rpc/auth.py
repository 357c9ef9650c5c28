"""Who may call the control plane: bearer tokens and roles from a file of the operator's.

    [alice]
    role = "operator"            # everything
    sha256 = "9f86d081884c7d65..."   # of the token: printf %s "$TOKEN" | sha256sum

    [search-fleet]
    role = "replica"             # Watch, Poll and what a viewer may
    sha256 = "..."

The third role is ``viewer``: Get, List, Assign, GetPlan, GetLedger, Preview. Without a file everyone who reaches the
port may do everything, so it must then be a loopback address. The file is read anew when it changes; one that does
not hold admits nobody.
"""

import hashlib
import hmac
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ra_guard.errors import Code, RaGuardError

Metadata = Sequence[tuple[str, str | bytes]]
SCHEME = "Bearer "
_MAX_NAME = 64


class Unauthenticated(RaGuardError):
    """No token, or one that nobody was given."""

    status_code = Code.UNAUTHENTICATED


class PermissionDenied(RaGuardError):
    """A token whose role does not allow the call."""

    status_code = Code.PERMISSION_DENIED


class BadTokenFile(RaGuardError):
    """A token file that cannot be read or does not hold: nobody is admitted."""

    status_code = Code.FAILED_PRECONDITION


class Role(Enum):
    """What a token is good for, weakest first."""

    VIEWER = "viewer"
    REPLICA = "replica"
    OPERATOR = "operator"


_RANK = {role: rank for rank, role in enumerate(Role)}

REQUIRED = {
    **dict.fromkeys(("Get", "List", "Assign", "GetPlan", "GetLedger", "Preview"), Role.VIEWER),
    **dict.fromkeys(("Watch", "Poll"), Role.REPLICA),
    **dict.fromkeys(("Apply", "Ramp", "Approve", "Kill", "Resume", "RollBack", "Note", "Attest"), Role.OPERATOR),
}
"""By method of ExperimentAdmin; a test proves that none is missing."""


class _Token(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


_TOKENS = TypeAdapter(dict[Annotated[str, Field(min_length=1, max_length=_MAX_NAME)], _Token])


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls. ``name`` is None where no tokens are configured."""

    name: str | None

    def signs(self, who: str) -> str:
        """The name that the ledger keeps: the token's, beside the one that the caller gave if that is another."""
        if self.name is None or self.name == who:
            return who
        return f"{self.name} (as {who})" if who else self.name


class Authoriser:
    """Admits calls. ``path`` is the token file, None for none."""

    def __init__(self, path: Path | None) -> None:
        """Reads the file once. Raises BadTokenFile."""
        self._path = path
        self._read: tuple[tuple[int, int], dict[str, _Token]] | None = None
        if path is not None:
            self._tokens(path)

    def admit(self, method: str, metadata: Metadata) -> Principal:
        """The caller of a method. Raises Unauthenticated, PermissionDenied, BadTokenFile."""
        if self._path is None:
            return Principal(None)
        found = next((value for key, value in metadata if key == "authorization"), None)
        if not isinstance(found, str) or not found.startswith(SCHEME):
            raise Unauthenticated(
                "found no bearer token, wanted one; set control.token or RA_GUARD_CONTROL__TOKEN where the call is made"
            )
        name, token = self._match(self._path, found.removeprefix(SCHEME))
        required = REQUIRED[method]
        if _RANK[token.role] < _RANK[required]:
            raise PermissionDenied(
                f"found {name} with role {token.role.value}, wanted {required.value} for {method}; use another token"
            )
        return Principal(name)

    def _match(self, path: Path, presented: str) -> tuple[str, _Token]:
        digest = hashlib.sha256(presented.encode()).hexdigest()
        # All are compared, so that the time says nothing about which one was near.
        matching = [
            (name, token) for name, token in self._tokens(path).items() if hmac.compare_digest(token.sha256, digest)
        ]
        if not matching:
            raise Unauthenticated("found a token that nobody was given, wanted one of control.tokens; ask its owner")
        return matching[0]

    def _tokens(self, path: Path) -> dict[str, _Token]:
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_ino)
            if self._read is None or self._read[0] != stamp:
                self._read = (stamp, _TOKENS.validate_python(tomllib.loads(path.read_text(encoding="utf-8"))))
            return self._read[1]
        except OSError as error:
            raise BadTokenFile(f"{path.name}: {error.strerror}; wanted a readable file, nobody is admitted") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BadTokenFile(f"{path.name}: not TOML ({error}); nobody is admitted until it is") from None
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"]))
            raise BadTokenFile(
                f"{path.name}: {where}: {problem['msg']}; wanted role and sha256 for each name, nobody is admitted"
            ) from None
