"""Where a control plane may listen, and what its start refuses; tests/integration has it running."""

from pathlib import Path
from typing import Any

import pytest
from ra_guard.config import load
from ra_guard.control import require_tokens_beyond_loopback
from ra_guard.errors import ConfigError


def listening(**control: Any) -> None:
    require_tokens_beyond_loopback(load(overrides={"control": control}, environ={}))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_tokens(host: str) -> None:
    listening(host=host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "control.internal", "localhost.example.com"])
def test_beyond_loopback_tokens_are_required(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError) as refused:
        listening(host=host)
    for word in ("control.host", host, "control.tokens", "killswitch"):
        assert word in str(refused.value)
    listening(host=host, tokens=str(tmp_path / "tokens.toml"))
