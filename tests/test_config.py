"""Settings: where values come from, which place wins, and what is said about nonsense."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from tonnage.config import Applied, load_settings
from tonnage.errors import ConfigError
from tonnage.options import GROUPS, OPTIONS
from tonnage.settings import Settings
from tonnage.units import MIB, Threshold


@pytest.fixture
def load(tmp_path: Path) -> Loader:
    """Load settings in an empty directory, unwatched by any terminal."""
    return Loader(tmp_path)


class Loader:
    """The public door with short names, and files to put before it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(
        self, environ: Mapping[str, str] | None = None, *, watched: bool = False, **flags: Any
    ) -> Settings:
        """Load with these variables and flags; *watched* says whether a terminal is there."""
        return load_settings(flags, environ or {}, self.directory, on_terminal=lambda: watched)

    def write(self, name: str, text: str) -> None:
        """Put a file into the directory."""
        (self.directory / name).write_text(text)

    def write_table(self, text: str) -> None:
        """Put a pyproject.toml with these lines in [tool.tonnage] into the directory."""
        self.write("pyproject.toml", f"[tool.tonnage]\n{text}\n")


def test_records_hold_the_options_of_their_group(load: Loader) -> None:
    """Each record has a field for every option of its group, and no other."""
    settings = load()
    for group in GROUPS:
        expected = [option.field_name for option in OPTIONS if option.group == group]
        assert [each.name for each in fields(getattr(settings, group))] == expected


def test_option_names_are_unique() -> None:
    """No two options share a name or a variable."""
    variables = [name for option in OPTIONS for name in option.env]
    assert len(set(variables)) == len(variables)


def test_defaults_are_parsed(load: Loader) -> None:
    """With nothing given, defaults have their types and say that they are defaults."""
    settings = load()
    assert settings.memory.limit_bytes is None
    assert settings.memory.warning_at == Threshold(percent=80.0)
    assert settings.memory.free_floor_bytes == 16 * MIB
    assert settings.process.workers is None
    assert settings.app.preload is True
    assert set(settings.sources.values()) == {"default"}


def test_flag_wins_over_environment_over_env_file_over_table(load: Loader) -> None:
    """Each place wins over the ones after it, and the value remembers its place."""
    load.write_table('threads = 1\nbacklog = 1\nmemory = "1M"\nfree_floor = "1M"')
    load.write("web.env", "TONNAGE_THREADS=2\nTONNAGE_BACKLOG=2\nTONNAGE_MEMORY=2M\n")
    environ = {"TONNAGE_THREADS": "3", "TONNAGE_BACKLOG": "3"}
    settings = load(environ, threads="4", env_file="web.env")
    assert settings.process.threads == 4
    assert settings.listen.backlog == 3
    assert settings.memory.limit_bytes == 2 * MIB
    assert settings.memory.free_floor_bytes == 1 * MIB
    assert settings.sources["threads"] == "flag"
    assert settings.sources["backlog"] == "environment TONNAGE_BACKLOG"
    assert settings.sources["memory"] == "env file web.env"
    assert settings.sources["free_floor"] == "pyproject.toml"


def test_own_variable_wins_over_the_conventional_one(load: Loader) -> None:
    """TONNAGE_PORT is more on purpose than a platform's PORT."""
    assert load({"PORT": "80", "TONNAGE_PORT": "81"}).listen.port == 81


def test_empty_variable_counts_as_unset(load: Loader) -> None:
    """Compose files and shells pass empty variables for what nobody set."""
    settings = load({"PORT": "", "MAX_MEMORY_MB": " "})
    assert settings.listen.port == 8000
    assert settings.memory.limit_bytes is None


@pytest.mark.parametrize(
    ("text", "mb"), [("256", 256), ("0.5", 0.5), ("512M", 512), ("1G", 1024), (" 300 ", 300)]
)
def test_bare_number_in_max_memory_mb_counts_mb(load: Loader, text: str, mb: float) -> None:
    """The name carries the unit, but a unit that is written wins."""
    assert load({"MAX_MEMORY_MB": text}).memory.limit_bytes == mb * MIB


def test_workers_remember_that_a_platform_asked(load: Loader) -> None:
    """The budget refuses what a person asked for but reduces what a platform did."""
    assert load({"WEB_CONCURRENCY": "4"}).sources["workers"] == "environment WEB_CONCURRENCY"
    assert load({"WEB_CONCURRENCY": "4"}, workers="2").sources["workers"] == "flag"


@pytest.mark.parametrize(
    ("environ", "host"),
    [
        ({}, "127.0.0.1"),
        ({"PORT": "10000"}, "0.0.0.0"),
        ({"PORT": "10000", "TONNAGE_HOST": "::1"}, "::1"),
        ({"TONNAGE_PORT": "10000"}, "127.0.0.1"),
    ],
)
def test_port_of_a_platform_opens_the_server(
    load: Loader, environ: dict[str, str], host: str
) -> None:
    """PORT in the environment means a hosting platform, which must reach the server."""
    assert load(environ).listen.host == host


@pytest.mark.parametrize(("watched", "expected"), [(True, "development"), (False, "production")])
def test_environment_is_production_unless_watched(
    load: Loader, watched: bool, expected: str
) -> None:
    """A terminal means a person at work, and log lines follow."""
    settings = load(watched=watched)
    assert settings.logging.environment == expected
    assert settings.logging.as_json is not watched
    assert load({"TONNAGE_ENV": "prod"}, watched=True).logging.environment == "production"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("true", True), ("YES", True), ("1", True), ("off", False), ("0", False)],
)
def test_switches_read_common_words(load: Loader, text: str, expected: bool) -> None:
    """ENABLE_CLUSTERING is written in many ways."""
    assert load({"ENABLE_CLUSTERING": text}).process.clustering is expected


def test_table_takes_toml_types_and_dashes(load: Loader) -> None:
    """Numbers, booleans and keys with dashes are natural in TOML."""
    load.write_table('queue-seconds = 2.5\naccess_log = true\nworkers = 2\ntarget = "main:app"')
    settings = load()
    assert settings.admission.queue_seconds == 2.5
    assert settings.logging.access_log is True
    assert settings.process.workers == 2
    assert settings.app.target == "main:app"


def test_config_file_is_read_instead_of_pyproject(load: Loader) -> None:
    """--config names the one file whose table counts."""
    load.write_table("threads = 1")
    load.write("other.toml", "[tool.tonnage]\nbacklog = 7\n")
    settings = load(config="other.toml")
    assert (settings.listen.backlog, settings.process.threads) == (7, 16)
    assert settings.app.config == load.directory / "other.toml"


def test_paths_are_relative_to_the_directory(load: Loader) -> None:
    """A path means the same wherever a worker happens to stand."""
    assert load(app_dir="src").app.app_dir == load.directory / "src"
    assert load(uds="/run/web.sock").listen.uds == Path("/run/web.sock")


def test_env_file_is_handed_on_for_the_application(load: Loader) -> None:
    """The application's own variables are kept beside the settings, out of sight."""
    load.write(".env", "DATABASE_PASSWORD=hidden\nTONNAGE_CONFIG=nowhere.toml\n")
    settings = load(env_file=".env")
    assert settings.env_file_variables["DATABASE_PASSWORD"] == "hidden"
    assert settings.app.config is None
    assert "hidden" not in repr(settings)


def test_token_never_shows(load: Loader) -> None:
    """The secret is in no representation, in no message, and no flag."""
    settings = load({"TONNAGE_ADMIN_TOKEN": "hidden"}, admin_token="from a flag")
    assert settings.admission.admin_token == "hidden"
    assert "hidden" not in repr(settings)
    load.write_table('admin_token = ["hidden"]')
    with pytest.raises(ConfigError) as caught:
        load()
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "flags", "message"),
    [
        (
            {"TONNAGE_MEMORY": "12 apples"},
            {},
            "TONNAGE_MEMORY='12 apples' makes no sense: write a size such as 512M or 1.5G",
        ),
        (
            {},
            {"port": "http"},
            "--port='http' makes no sense: write a whole number from 0 to 65535",
        ),
        (
            {"WEB_CONCURRENCY": "0"},
            {},
            "WEB_CONCURRENCY='0' makes no sense: write a whole number of 1 or more",
        ),
        (
            {"ENABLE_CLUSTERING": "maybe"},
            {},
            "ENABLE_CLUSTERING='maybe' makes no sense: write true or false",
        ),
        (
            {"LOG_LEVEL": "loud"},
            {},
            "LOG_LEVEL='loud' makes no sense: write debug, info, warning, error or critical",
        ),
        (
            {},
            {"health_path": "health"},
            "--health-path='health' makes no sense: write a path such as /health",
        ),
        (
            {},
            {"start_seconds": "0"},
            "--start-seconds='0' makes no sense: "
            "write a duration of at least 0.1s such as 30s, 250ms or 2m",
        ),
        (
            {},
            {"target": " "},
            "TARGET=' ' makes no sense: write MODULE:ATTR, for example main:app",
        ),
        (
            {},
            {"warning_at": "95%"},
            "--warning-at 95%, --critical-at 90%, --exhausted-at 98%: write them in rising order",
        ),
        (
            {"TONNAGE_FD": "3"},
            {"uds": "web.sock"},
            "--uds and TONNAGE_FD both say where to listen: keep one",
        ),
        (
            {},
            {"gc_interval": "250ms"},
            "--gc-interval='250ms' makes no sense: "
            "write a duration of at least 1s such as 30s or 2m, or 0 for off",
        ),
        (
            {},
            {"max_lifetime": "0.001"},
            "--max-lifetime='0.001' makes no sense: "
            "write a duration of at least 1s such as 30s or 2m, or 0 for off",
        ),
        (
            {"TONNAGE_WORKER_MEMORY": "100M"},
            {"fuse": False},
            "TONNAGE_WORKER_MEMORY is kept by the fuse, which --no-fuse turns off: "
            "leave one of them out",
        ),
        (
            {},
            {"worker_memory": "1K"},
            "--worker-memory='1K' makes no sense: write a size of at least 1 MB such as 200M",
        ),
        (
            {},
            {"max_header_bytes": "1"},
            "--max-header-bytes='1' makes no sense: write a size of at least 1 KB such as 32K",
        ),
    ],
)
def test_nonsense_is_told_with_its_place(
    load: Loader, environ: dict[str, str], flags: dict[str, Any], message: str
) -> None:
    """The message names the place as the user wrote it, the value, and what to write."""
    with pytest.raises(ConfigError) as caught:
        load(environ, **flags)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("memroy = 1", "has an unknown key 'memroy': did you mean memory?"),
        ("zzz = 1", "has an unknown key 'zzz': see the options with tonnage run --help"),
        ('config = "x"', "has an unknown key 'config'"),
        ("threads = true", "pyproject.toml: threads=True makes no sense"),
        ("reload = 1", "pyproject.toml: reload=1 makes no sense"),
        ("threads = [1]", "pyproject.toml: threads=[1] makes no sense"),
        ("threads", "is not valid TOML"),
    ],
)
def test_nonsense_in_the_table_is_refused(load: Loader, line: str, message: str) -> None:
    """A misspelt key would otherwise be an option that silently does nothing."""
    load.write_table(line)
    with pytest.raises(ConfigError) as caught:
        load()
    assert message in str(caught.value)


def test_missing_files_are_named(load: Loader) -> None:
    """A file that was asked for must be there; pyproject.toml need not be."""
    with pytest.raises(ConfigError, match=r"cannot read .*none\.toml"):
        load(config="none.toml")
    with pytest.raises(ConfigError, match=r"cannot read the env file .*none\.env"):
        load(env_file="none.env")
    load.write("empty.toml", "")
    with pytest.raises(ConfigError, match=r"has no \[tool.tonnage\] table"):
        load(config="empty.toml")


def test_origin_calls_an_option_as_the_user_did(load: Loader) -> None:
    """Other rooms explain themselves with the name the user knows."""
    load.write_table("threads = 4")
    load.write("web.env", "TONNAGE_BACKLOG=9")
    settings = load({"MAX_MEMORY_MB": "300"}, workers="2", env_file="web.env")
    names = ("memory", "workers", "threads", "backlog", "port")
    assert [settings.origin(name) for name in names] == [
        "MAX_MEMORY_MB",
        "--workers",
        "threads in pyproject.toml",
        "backlog in web.env",
        "--port",
    ]


def test_limits_of_the_path_are_off_by_default(load: Loader) -> None:
    """They could harm an application that knows nothing of them."""
    path = load().path
    assert (path.max_body_bytes, path.max_upload_bytes, path.max_response_bytes) == (None,) * 3
    assert (path.timeout_seconds, path.rate_limit, path.routes) == (None, None, {})
    assert (path.compress, path.decompress, path.cors_origins) == (False, False, None)


def test_limits_of_the_path_come_from_flags_and_variables(load: Loader) -> None:
    """As any option does."""
    environ = {"TONNAGE_CORS_ORIGINS": "https://a.example, https://b.example"}
    path = load(environ, max_body="1M", timeout="30s", rate_limit="100/15m, 5/1s").path
    assert (path.max_body_bytes, path.timeout_seconds) == (MIB, 30.0)
    assert path.rate_limit == "100/15m, 5/1s"
    assert path.cors_origins == ("https://a.example", "https://b.example")


def test_several_words_and_rates_may_be_a_list(load: Loader) -> None:
    """In a TOML file; a pattern among them may have a comma."""
    load.write_table(
        'cors_origins = ["https://a.example", "re:https://b{1,2}.example"]\n'
        'rate_limit = ["100/15m", "5/1s"]'
    )
    path = load().path
    assert path.cors_origins == ("https://a.example", "re:https://b{1,2}.example")
    assert path.rate_limit == "100/15m,5/1s"


def test_a_rate_without_sense_says_where_it_is_written(load: Loader) -> None:
    """And what to write."""
    with pytest.raises(ConfigError, match=r"--rate-limit='often' .*: write a rate such as 100/15m"):
        load(rate_limit="often")
    with pytest.raises(ConfigError, match="'100/15x' has no unit of time that is known"):
        load(rate_limit="100/15x")
    load.write_table("rate_limit = [1, 2]")
    with pytest.raises(ConfigError, match=r"pyproject\.toml: rate_limit"):
        load()


def test_routes_have_a_table_each(load: Loader) -> None:
    """Named as they are in code, with what differs there."""
    load.write_table(
        '[tool.tonnage.routes."POST /photos"]\nmax_upload = "5M"\n'
        '[tool.tonnage.routes."GET /photos/{id}"]\nrate-limit = ["20/1h"]\ntimeout = "none"'
    )
    assert load().path.routes == {
        "POST /photos": {"max_upload": "5M"},
        "GET /photos/{id}": {"rate-limit": ["20/1h"], "timeout": "none"},
    }


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("routes = 5", "pyproject.toml: routes is not a table of routes: write"),
        ('routes = ["POST /photos"]', "routes is not a table"),
        ('[tool.tonnage.routes]\n"POST /photos" = "5M"', "routes is not a table"),
        (
            '[tool.tonnage.routes."POST /photos"]\nmax_upload = "5X"',
            "pyproject.toml: routes: POST /photos: max_upload='5X'",
        ),
        (
            '[tool.tonnage.routes."POST /photos"]\nmax_uplaod = "5M"',
            "pyproject.toml: routes: POST /photos: there is no rule 'max_uplaod'",
        ),
        ("[tool.tonnage.routes.photos]", "pyproject.toml: routes: 'photos' is no route"),
    ],
)
def test_mistakes_in_routes_name_file_and_route(load: Loader, table: str, said: str) -> None:
    """Whoever reads it finds the line."""
    load.write_table(table)
    with pytest.raises(ConfigError) as raised:
        load()
    assert said in str(raised.value)


@pytest.mark.parametrize("text", ["GET /p", "GET /p:", "no route", "; ", "/photos/<int:id>"])
def test_routes_without_limits_are_refused(load: Loader, text: str) -> None:
    """With how to write them."""
    with pytest.raises(ConfigError) as raised:
        load(routes=[text])
    assert "makes no sense: write for example 'POST /photos: max_upload=5M" in str(raised.value)
    assert str(raised.value).startswith("--route=")


def test_routes_may_be_flags(load: Loader) -> None:
    """One for each; rates have commas between them, and a route may have a colon."""
    flags = [
        "POST /photos: max_upload=5M, timeout=none",
        "/photos/<int:id>: rate-limit=20/1h, 5/1s by header:x-key, compress = yes",
    ]
    found = {
        "POST /photos": {"max_upload": "5M", "timeout": "none"},
        "/photos/<int:id>": {"rate-limit": "20/1h, 5/1s by header:x-key", "compress": "yes"},
    }
    assert load(routes=flags).path.routes == found


@pytest.mark.parametrize("between", ["\n", ";", " ;\n"])
def test_routes_may_be_a_variable(load: Loader, between: str) -> None:
    """A flag wins over all of them, as it does with every option."""
    environ = {"TONNAGE_ROUTES": between.join(("/a: max_body=1K", "/b: max_body=2K"))}
    assert load(environ).path.routes == {"/a": {"max_body": "1K"}, "/b": {"max_body": "2K"}}
    assert list(load(environ, routes=["/c: max_body=1K"]).path.routes) == ["/c"]


def test_a_mistake_in_a_route_names_its_place(load: Loader) -> None:
    """As one in the file does."""
    with pytest.raises(ConfigError, match=r"^--route: /a: there is no rule 'max_bdoy'"):
        load(routes=["/a: max_bdoy=1K"])
    with pytest.raises(ConfigError, match=r"^TONNAGE_ROUTES: /a: max_body='5X' makes no sense"):
        load({"TONNAGE_ROUTES": "/a: max_body=5X"})


def test_a_misspelt_variable_is_warned_of(load: Loader) -> None:
    """With the name that is meant; its value may be a secret, and is not repeated."""
    load.write("web.env", "TONNAGE_ADMIN_TOKNE=hidden")
    environ = {"TONNAGE_WROKERS": "3", "TONNAGE_ZZZ": "1", "TONNAGE_EMPTY": " ", "PATH": "/bin"}
    none = "is set and has no effect, since there is no such option"
    assert load(environ, env_file="web.env").warnings == (
        f"TONNAGE_WROKERS {none}: did you mean TONNAGE_WORKERS?",
        f"TONNAGE_ZZZ {none}: see tonnage run --help",
        f"TONNAGE_ADMIN_TOKNE {none}: did you mean TONNAGE_ADMIN_TOKEN?",
    )


def test_variables_that_are_no_options_are_known(load: Loader) -> None:
    """Every option's, the library's own, the tests', and those of a Kubernetes service."""
    environ = {
        "TONNAGE_PREPARED": "X",
        "TONNAGE_TEST_DISK": "1",
        "TONNAGE_SERVICE_HOST": "10.0.0.1",
    }
    environ |= {"TONNAGE_PORT_80_TCP": "tcp://10.0.0.1:80", "TONNAGE_ENV": "production"}
    environ |= {"TONNAGE_ADMIN_TOKEN": "t", "TONNAGE_ALERT_URL": "https://hooks.example/x"}
    assert load(environ).warnings == ()


def test_what_a_process_is_told_applies_before_its_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where nobody has told it anything, the environment says it, as it is at that moment."""
    monkeypatch.chdir(tmp_path)
    applied = Applied(lambda settings: settings.stores.cache_ttl_seconds)
    for seconds in (7, 8):
        monkeypatch.setenv("CACHE_TTL", str(seconds))
        assert applied.current() == seconds
    applied.use(9.0)
    assert applied.current() == 9
