from pathlib import Path

import pytest
from ra_guard.config import Settings, address_of, child_environment, load, variables
from ra_guard.errors import ConfigError
from ra_guard.experiments.definition.vocabulary import Route, Team


def test_defaults_come_from_the_packaged_file() -> None:
    settings = load(environ={})
    assert settings.server.port == 50051
    assert settings.gallery_dir == Path("var/gallery")
    assert settings.candidate_log_dir == Path("var/logs/candidates")


def test_a_file_overrides_defaults_and_the_environment_overrides_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[server]\nport = 1234\nworkers = 3\n")
    settings = load(file, environ={"RA_GUARD_SERVER__PORT": "4321"})
    assert (settings.server.port, settings.server.workers, settings.server.handler_threads) == (4321, 3, 3)


def test_overrides_win_over_everything() -> None:
    settings = load(overrides={"server": {"port": 0}}, environ={"RA_GUARD_SERVER__PORT": "4321"})
    assert settings.server.port == 0


def test_the_file_can_be_named_by_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('state_dir = "elsewhere"\n')
    assert load(environ={"RA_GUARD_CONFIG": str(file)}).run_dir == Path("elsewhere/run")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[server]\nprot = 1\n", ["server.prot", "did you mean port?", "max_streams"]),
        ("[sever]\nport = 1\n", ["sever", "did you mean server?"]),
        ("[server]\nport = 70000\n", ["server.port", "70000", "65535"]),
        ("[server]\nhandler_threads = 1\n", ["server.handler_threads", "greater than or equal to 2"]),
        ("[control]\nheartbeat_s = 4.0\n", ["control.silence_s", "must be longer than heartbeat_s, which is 4.0"]),
        ('[control]\nflag_provider = "flagd"\n', ["control.flag_provider", "flagd"]),
        ('[experiment]\nkey = "a/b"\n', ["experiment.key"]),
        ("[telemetry]\nsample = nan\n", ["telemetry.sample"]),
        ('[cold]\nmode = "sometimes"\n', ["cold.mode", "never_wait"]),
        ("[server\n", ["not TOML"]),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, text: str, words: list[str]) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load(file, environ={})
    for word in words:
        assert word in str(refused.value)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml"):
        load(tmp_path / "none.toml", environ={})


def test_a_misspelt_variable_is_refused_with_the_right_one() -> None:
    with pytest.raises(ConfigError, match="did you mean RA_GUARD_SERVER__PORT"):
        load(environ={"RA_GUARD_SERVER_PORT": "1"})


def test_a_wrong_value_from_the_environment_is_named() -> None:
    with pytest.raises(ConfigError, match=r"server\.port.*'many'"):
        load(environ={"RA_GUARD_SERVER__PORT": "many"})


def test_every_option_has_a_variable_that_sets_it() -> None:
    assert variables()["RA_GUARD_SERVER__SHED_QUEUE_DELAY_MS"] == ("server", "shed_queue_delay_ms")
    assert variables()["RA_GUARD_STATE_DIR"] == ("state_dir",)


def test_settings_survive_the_way_to_a_worker() -> None:
    settings = load(overrides={"server": {"port": 1}}, environ={})
    assert Settings.model_validate_json(settings.model_dump_json()) == settings


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(environ={}).server.port = 1  # type: ignore[misc]


def test_a_space_is_chosen_only_when_it_is_the_only_one(tmp_path: Path) -> None:
    settings = load(overrides={"state_dir": tmp_path}, environ={})
    assert settings.space_dir() is None
    for name in ("one", "two"):
        (tmp_path / "models" / name).mkdir(parents=True)
    (tmp_path / "models" / "one" / "space.json").touch()
    assert settings.space_dir() == tmp_path / "models" / "one"
    (tmp_path / "models" / "two" / "space.json").touch()
    with pytest.raises(ConfigError, match="one, two"):
        settings.space_dir()


def test_a_child_keeps_what_the_operator_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert child_environment(OMP_NUM_THREADS="1", SOMETHING_NEW="2")["OMP_NUM_THREADS"] == "7"
    assert child_environment(SOMETHING_NEW="2")["SOMETHING_NEW"] == "2"


def test_the_store_is_beside_the_rest_of_the_state_unless_it_is_named(tmp_path: Path) -> None:
    assert load(overrides={"state_dir": tmp_path}, environ={}).store_url == f"sqlite:///{tmp_path}/control/control.db"
    named = "postgresql+psycopg://ra@db/control"
    assert load(environ={"RA_GUARD_CONTROL__STORE": named}).store_url == named
    relative = load(overrides={"state_dir": "var"}, environ={}).store_url
    assert relative == f"sqlite:///{Path.cwd()}/var/control/control.db", "whatever folder a child starts in"


def test_addresses_bracket_ipv6() -> None:
    assert (address_of("127.0.0.1", 1), address_of("::1", 1)) == ("127.0.0.1:1", "[::1]:1")


def test_addresses_of_people_are_a_list_in_a_file_and_words_in_a_variable(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[alerts]\nslack = ["slack://a/b/c", "json://d"]\n')
    expected = ("slack://a/b/c", "json://d")
    assert load(file, environ={}).alerts.slack == expected
    assert load(environ={"RA_GUARD_ALERTS__SLACK": " ".join(expected)}).alerts.slack == expected
    assert "slack://a" not in repr(load(file, environ={})), "an address holds a token"


@pytest.mark.parametrize("text", ['"hidden"', '["no url hidden"]', "{ at = 'hidden' }", '["json://ok", "hidden"]'])
def test_a_wrong_address_is_named_and_not_shown(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f"[alerts]\nemail = {text}\n")
    with pytest.raises(ConfigError, match=r"alerts\.email") as refused:
        load(file, environ={})
    assert "hidden" not in str(refused.value)


def test_teams_have_addresses_of_their_own_in_a_file_and_in_variables(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[alerts.teams.data_team]\nslack = ["slack://a/b/c"]\nemail = ["json://d"]\n')
    variables = {
        "RA_GUARD_ALERTS__TEAMS__DATA_TEAM__EMAIL": "json://e json://f",
        "RA_GUARD_ALERTS__TEAMS__QA_TEAM__SLACK": "json://g",
    }
    settings = load(file, environ=variables)
    assert settings.alerts.teams == {
        Team.DATA: {Route.SLACK: ("slack://a/b/c",), Route.EMAIL: ("json://e", "json://f")},
        Team.QA: {Route.SLACK: ("json://g",)},
    }
    assert Settings.model_validate_json(settings.model_dump_json()) == settings
    assert "slack://a" not in repr(settings)
    assert load(environ={}).alerts.teams == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data_tem.slack = []", ["alerts.teams.data_tem: no such option, did you mean data_team?", "qa_team"]),
        ("data_team.slak = []", ["alerts.teams.data_team.slak: no such option, did you mean slack?", "email"]),
        ('data_team.slack = ["hidden"]', ["alerts.teams.data_team.slack.0: found what is not shown"]),
        ('data_team = ["json://hidden"]', ["alerts.teams.data_team: found what is not shown"]),
        ('slack = ["json://hidden"]', ["alerts.teams.slack: no such option"]),
    ],
)
def test_what_is_wrong_with_a_team_is_named_and_no_address_is_shown(
    tmp_path: Path, text: str, words: list[str]
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f"[alerts.teams]\n{text}\n")
    with pytest.raises(ConfigError) as refused:
        load(file, environ={})
    assert all(word in str(refused.value) for word in words), refused.value
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize("option", ["TEAMS", "TEAMS__DATA_TEAM", "TEAMS__DATA_TEM__SLACK"])
def test_a_variable_for_no_list_of_a_team_is_refused(option: str) -> None:
    with pytest.raises(ConfigError, match=f"ALERTS__{option}: no such option"):
        load(environ={f"RA_GUARD_ALERTS__{option}": "json://x"})


def test_no_error_tells_a_secret() -> None:
    secret = {
        "RA_GUARD_CONTROL__TOKEN": "hidden",
        "RA_GUARD_CONTROL__STORE": "postgresql+psycopg://ra:hidden@db/control",
    }
    for option in ("CONTROL__SILENCE_S", "CONTROL__PORT", "SERVER__PORT"):
        with pytest.raises(ConfigError) as refused:
            load(environ={**secret, f"RA_GUARD_{option}": "0.05"})
        assert "hidden" not in str(refused.value)
