"""``tonnage init``: which files there are, what they say, and what is never overwritten."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tonnage import __version__
from tonnage.cli.main import main
from tonnage.commands.deploying import PLATFORMS
from tonnage.commands.deploying.project import STORES, plain_name, stores_in
from tonnage.options import OPTIONS

yaml: Any = pytest.importorskip("yaml")

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
# The example that each of the originals is deployed by, and where to.
DEPLOYED = {
    "fitflix": ["render"],
    "lvlup": ["railway"],
    "fibuca": ["compose"],
    "eventide": ["kubernetes", "--secret", "EVENTIDE_SECRET"],
}
PYPROJECT = """
[project]
name = "My_Shop"
dependencies = ["tonnage[postgres,redis]>=0.1", "pymongo"]

[tool.tonnage]
target = "main:app"
stop_seconds = 40
"""

everywhere = pytest.mark.parametrize("platform", sorted(PLATFORMS))


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a project that uses every store and has migrations, with no option set."""
    monkeypatch.chdir(tmp_path)
    for name in {name for option in OPTIONS for name in option.env} | set(STORES.values()):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    (tmp_path / "migrations" / "versions").mkdir(parents=True)
    return tmp_path


def init(*arguments: str) -> dict[str, str]:
    """Run ``tonnage init`` and return the files that are in its output directory."""
    output = Path("made")
    assert main(["init", *arguments, "--output", str(output)]) == 0
    return {path.name: path.read_text() for path in output.iterdir()}


@everywhere
def test_each_platform_gets_its_files(platform: str) -> None:
    """Each file that may have comments tells the plan; each is short, and names the command."""
    files = init(platform)
    texts = "".join(files.values())
    assert "tonnage run main:app" in texts or '"tonnage", "run", "main:app"' in texts
    assert "tonnage db migrate" in texts or '"tonnage", "db", "migrate"' in texts
    assert "room for requests" in texts
    assert all(len(text.splitlines()) < 150 for text in files.values())
    assert all(text.endswith("\n") and not text.endswith("\n\n") for text in files.values())


@everywhere
def test_secrets_are_names_only(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment holds is named in the files, and never written into them."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://ann:hunter2@db.example/shop")
    monkeypatch.setenv("TONNAGE_ADMIN_TOKEN", "hunter2")
    texts = "".join(init(platform).values())
    assert "hunter2" not in texts
    assert "TONNAGE_ADMIN_TOKEN" in texts


@everywhere
def test_the_applications_own_secrets_are_named(platform: str) -> None:
    """Beside those of the server; what is no name is not repeated."""
    texts = "".join(init(platform, "--secret", "SIGNING_KEY", "--secret", "MAIL_KEY").values())
    for name in ("SIGNING_KEY", "MAIL_KEY"):
        assert texts.count(name) >= texts.count("TONNAGE_ADMIN_TOKEN") > 0


def test_a_secret_in_place_of_its_name_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    """It is refused instead of written into a file."""
    assert main(["init", "docker", "--secret", "hunter2=="]) == 2
    assert "hunter2" not in capsys.readouterr().err


@everywhere
def test_flags_go_into_the_command(platform: str) -> None:
    """What is said on the line is run with; where to listen is for the platform to say."""
    texts = "".join(
        init(platform, "--threads", "4", "--no-compress", "--port", "9999").values()
    ).replace('", "', " ")
    assert "--threads 4" in texts
    assert "--no-compress" in texts
    assert "--port" not in texts


@everywhere
def test_the_platform_waits_longer_than_the_server_takes(platform: str) -> None:
    """Five seconds more than the 40 of pyproject.toml; Heroku waits 30 whatever one says."""
    texts = "".join(init(platform).values())
    if platform == "heroku":
        assert "--stop-seconds 25" in texts
    else:
        assert "45" in texts


def test_as_many_workers_as_planned() -> None:
    """The command says so, where nobody has: more processors would have more started."""
    assert '"--workers", "1"' in init("docker")["Dockerfile"]
    text = init("docker", "--workers", "3", "--force")["Dockerfile"]
    assert "# 3 workers, each with 16 threads" in text
    assert text.count('"--workers"') == 1
    assert '"--workers"' not in init("docker", "--clustering", "--force")["Dockerfile"]


def test_memory_is_the_platforms_usual_or_what_is_asked_for() -> None:
    """The instance is one that holds it, and the command keeps to it."""
    assert "plan: starter" in init("render")["render.yaml"]
    text = init("render", "--memory", "700M", "--force")["render.yaml"]
    assert "plan: standard" in text
    assert "--memory 700M" in text
    assert "for 700 MB" in text


def test_a_container_is_the_limit() -> None:
    """Where the kernel keeps the limit, the command does not say it again."""
    service = yaml.safe_load(init("compose", "--memory", "1G")["compose.yaml"])["services"]["app"]
    assert service["mem_limit"] == service["memswap_limit"] == "1024m"
    assert "--memory" not in service["command"]


def test_every_service_is_bounded_and_nothing_is_in_the_open() -> None:
    """Each service of a compose file has a limit without swap; passwords come from .env."""
    text = init("compose")["compose.yaml"]
    services = yaml.safe_load(text)["services"]
    assert set(services) == {"app", "migrate", "postgres", "redis", "mongo"}
    assert all(each["mem_limit"] == each["memswap_limit"] for each in services.values())
    assert "allkeys-lru" in services["redis"]["command"]
    assert "${POSTGRES_PASSWORD:?" in services["app"]["environment"]["DATABASE_URL"]
    needed = services["app"]["depends_on"]["migrate"]["condition"]
    assert needed == "service_completed_successfully"


def test_kubernetes_objects_fit_together() -> None:
    """Probes, memory promised in full, no root, and as many instances as Redis lets share."""
    documents = list(yaml.safe_load_all(init("kubernetes")["kubernetes.yaml"]))
    deployment, service, autoscaler = documents
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    limits, requests = container["resources"]["limits"], container["resources"]["requests"]
    assert limits["memory"] == requests["memory"] == "512Mi"
    assert container["livenessProbe"]["httpGet"]["path"] == "/health"
    assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["terminationGracePeriodSeconds"] == 45
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]
    assert autoscaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert autoscaler["spec"]["maxReplicas"] == 3
    waiting, busy = autoscaler["spec"]["metrics"]
    assert waiting["pods"]["metric"]["name"] == "tonnage_requests_waiting"
    assert busy["resource"]["name"] == "cpu"
    secrets = {each["name"]: each.get("valueFrom") for each in container["env"]}
    assert secrets["DATABASE_URL"]["secretKeyRef"] == {"name": "my-shop", "key": "DATABASE_URL"}


def test_one_instance_without_redis(project: Path) -> None:
    """Caches and rate limits of an instance are its own: a second one is for who says so."""
    (project / "pyproject.toml").write_text('[project]\nname = "shop"\n')
    text = init("kubernetes", "main:app")["kubernetes.yaml"]
    assert list(yaml.safe_load_all(text))[2]["spec"]["maxReplicas"] == 1


def test_render_has_its_documented_keys() -> None:
    """A Blueprint: references to database and Redis, which are closed to the outside."""
    blueprint = yaml.safe_load(init("render")["render.yaml"])
    web, redis = blueprint["services"]
    assert web["numInstances"] == 1
    assert web["healthCheckPath"] == "/health"
    assert web["preDeployCommand"] == "tonnage db migrate"
    assert web["maxShutdownDelaySeconds"] == 45
    variables = {each.pop("key"): each for each in web["envVars"]}
    database = variables["DATABASE_URL"]["fromDatabase"]
    assert database["name"] == blueprint["databases"][0]["name"]
    assert variables["REDIS_URL"]["fromService"]["name"] == redis["name"]
    assert variables["MONGO_URL"] == {"sync": False}
    assert redis["ipAllowList"] == blueprint["databases"][0]["ipAllowList"] == []


def test_railway_is_told_which_variables_there_are(project: Path) -> None:
    """Those of the stores, and the token, which there is without any."""
    told = "# Variables of the service:\n"
    redis = "#   REDIS_URL = ${{Redis.REDIS_URL}}\n"
    mongo = "#   MONGO_URL = ${{MongoDB.MONGO_URL}}\n"
    token = "#   TONNAGE_ADMIN_TOKEN, sealed\n[build]\n"
    assert f"{redis}{mongo}{token}" in init("railway")["railway.toml"]
    shutil.rmtree("made")
    (project / "pyproject.toml").write_text(
        '[project]\nname = "shop"\ndependencies = ["tonnage"]\n'
    )
    assert f"{told}{token}" in init("railway", "main:app")["railway.toml"]


def test_railway_and_fly_are_toml_with_their_documented_keys() -> None:
    """Both build the image; one instance, which has its time to stop."""
    deploy = tomllib.loads(init("railway")["railway.toml"])["deploy"]
    assert (deploy["numReplicas"], deploy["drainingSeconds"]) == (1, 45)
    assert deploy["startCommand"] == "tonnage run main:app --workers 1 --memory 512M"
    fly = tomllib.loads(init("fly", "--memory", "600M")["fly.toml"])
    assert (fly["kill_signal"], fly["kill_timeout"]) == ("SIGTERM", 45)
    assert fly["vm"] == [{"memory": "768mb", "cpu_kind": "shared", "cpus": 1}]
    assert fly["http_service"]["internal_port"] == int(fly["env"]["PORT"])
    assert fly["http_service"]["checks"][0]["path"] == "/health"
    assert fly["deploy"]["release_command"] == "tonnage db migrate"


def test_heroku_has_its_documented_keys() -> None:
    """The flag for workers wins over the WEB_CONCURRENCY that Heroku makes up."""
    files = init("heroku")
    lines = [line for line in files["Procfile"].splitlines() if not line.startswith("#")]
    processes = dict(line.split(": ", 1) for line in lines)
    assert processes["release"] == "tonnage db migrate"
    assert "--workers 1" in processes["web"]
    app = json.loads(files["app.json"])
    assert app["formation"] == {"web": {"quantity": 1, "size": "basic"}}
    assert app["env"]["TONNAGE_ADMIN_TOKEN"]["generator"] == "secret"
    assert files["requirements.txt"].endswith("\n.\n")


def test_pip_installs_what_there_is(project: Path) -> None:
    """The requirements, and then they are a layer of their own; else the project; else Tonnage."""
    assert "RUN pip install --no-cache-dir .\n" in init("docker")["Dockerfile"]
    assert "requirements.txt" in init("heroku")
    shutil.rmtree("made")
    (project / "requirements.txt").write_text("tonnage\n")
    text = init("docker")["Dockerfile"]
    assert text.index("COPY requirements.txt .\n") < text.index("COPY . .\n")
    assert "requirements.txt" not in init("heroku")
    for name in ("requirements.txt", "pyproject.toml"):
        (project / name).unlink()
    text = init("docker", "main:app", "--force")["Dockerfile"]
    assert "RUN pip install --no-cache-dir tonnage\n" in text


@pytest.mark.parametrize("platform", sorted(set(PLATFORMS) - {"systemd"}))
@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"requirements.txt": "fastapi\n"}, "requirements.txt has no Tonnage"),
        ({"requirements.txt": "tonnage-demo\n# tonnage\n"}, "requirements.txt has no Tonnage"),
        ({"pyproject.toml": '[project]\nname = "a"'}, "pyproject.toml have no Tonnage"),
        ({}, "there is neither a requirements.txt nor a pyproject.toml"),
    ],
)
def test_a_project_without_tonnage_is_told_the_line_to_add(
    project: Path,
    capsys: pytest.CaptureFixture[str],
    platform: str,
    files: dict[str, str],
    said: str,
) -> None:
    """Its deployment would fail at the start, with a command that is not found."""
    _only(project, files)
    init(platform, "main:app")
    warning = capsys.readouterr().err
    assert warning.startswith("tonnage: warning: ")
    assert said in warning
    assert f"tonnage[migrations]=={__version__}" in warning


@pytest.mark.parametrize(
    "files",
    [
        {"requirements.txt": "fastapi\nTonnage[redis]>=0.1  # the server\n"},
        {"requirements.txt": "-r more.txt\n", "more.txt": "tonnage\n"},
        {"requirements.txt": "./vendor/tonnage-0.1.0-py3-none-any.whl\n"},
        {"requirements.txt": "git+https://example.org/me/tonnage.git@main#egg=tonnage\n"},
        {"requirements.txt": "-e .\n", "pyproject.toml": PYPROJECT},
        {"pyproject.toml": PYPROJECT},
        {"pyproject.toml": '[project]\nname = "a"\ndynamic = ["dependencies"]'},
    ],
)
def test_a_project_with_tonnage_is_not_warned(
    project: Path, capsys: pytest.CaptureFixture[str], files: dict[str, str]
) -> None:
    """However it is named to pip; what a build finds out cannot be seen, and gets no guess."""
    _only(project, files)
    init("render", "main:app")
    assert capsys.readouterr().err == ""


def test_the_line_to_add_has_the_extras_that_are_missing(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the stores those whose library no other line brings."""
    _only(project, {"requirements.txt": "psycopg[binary]\n"})
    init("docker", "main:app", "--with", "redis")
    assert f"add tonnage[migrations,redis]=={__version__}" in capsys.readouterr().err


def test_where_the_environment_is_ones_own_nobody_is_warned(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A unit installs nothing."""
    _only(project, {})
    init("systemd", "main:app")
    assert capsys.readouterr().err == ""


def _only(project: Path, files: dict[str, str]) -> None:
    """Have *files* in the *project*, and no other dependencies."""
    (project / "pyproject.toml").unlink()
    for name, text in files.items():
        (project / name).write_text(text)


def test_nothing_is_overwritten_unasked(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file in the way is named, with how much it differs; nothing at all is written."""
    (project / "compose.yaml").write_text("services: {}\n")
    assert main(["init", "compose"]) == 2
    message = capsys.readouterr().err
    assert "compose.yaml is there already" in message
    assert "1 fewer" in message
    assert "--force" in message
    assert not (project / "Dockerfile").exists()
    assert (project / "compose.yaml").read_text() == "services: {}\n"
    assert main(["init", "compose", "--force"]) == 0
    assert "overwritten" in capsys.readouterr().out
    assert "mem_limit" in (project / "compose.yaml").read_text()


def test_a_dockerfile_of_ones_own_is_kept(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What only goes with a platform's file does not stop it, and stays."""
    (project / "Dockerfile").write_text("FROM mine\n")
    assert main(["init", "fly"]) == 0
    assert "Dockerfile is kept as it is" in capsys.readouterr().out
    assert (project / "Dockerfile").read_text() == "FROM mine\n"
    assert main(["init", "docker"]) == 2


def test_a_second_time_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """What is there as it should be is no obstacle."""
    init("kubernetes")
    capsys.readouterr()
    init("kubernetes")
    assert capsys.readouterr().out.count("is up to date") == 3


def test_printing_writes_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--print shows each file under its name."""
    before = sorted(project.iterdir())
    assert main(["init", "systemd", "--print"]) == 0
    assert capsys.readouterr().out.startswith("===> my-shop.service <===\n# Made by tonnage")
    assert sorted(project.iterdir()) == before


def test_what_has_a_meaning_of_its_own_is_escaped() -> None:
    """Per cent signs in a unit, dollars in a unit and in Compose."""
    flags = ("main:app", "--warning-at", "70%", "--rate-limit", "9/1m by header:x-$key")
    command = re.findall("^ExecStart=(.*)$", init("systemd", *flags)["my-shop.service"], re.M)[0]
    assert "--warning-at 70%% --rate-limit '9/1m by header:x-$$key'" in command
    service = yaml.safe_load(init("compose", *flags)["compose.yaml"])["services"]["app"]
    assert "9/1m by header:x-$$key" in service["command"]
    web = yaml.safe_load(init("render", *flags)["render.yaml"])["services"][0]
    assert "'9/1m by header:x-$key'" in web["startCommand"]


def test_what_lasts_is_where_it_lasts(project: Path) -> None:
    """Spool and reports are on a volume, unless somebody has placed them."""
    service = yaml.safe_load(init("compose")["compose.yaml"])["services"]["app"]
    assert service["environment"]["TONNAGE_SPOOL_DIR"] == "/app/data/spool"
    assert service["volumes"] == ["app-data:/app/data"]
    unit = init("systemd")["my-shop.service"]
    assert "TONNAGE_SPOOL_DIR=/var/lib/my-shop/spool" in unit
    (project / "pyproject.toml").write_text(PYPROJECT + 'spool_dir = "/mnt/spool"\n')
    assert "TONNAGE_SPOOL_DIR" not in init("systemd", "--force")["my-shop.service"]


@pytest.mark.parametrize(
    ("text", "name"),
    [("My_Shop", "my-shop"), ("7 seas", "app-7-seas"), ("---", "app"), ("a" * 60, "a" * 36)],
)
def test_names_are_plain(text: str, name: str) -> None:
    """As Kubernetes, which is the strictest, takes them."""
    assert plain_name(text) == name


def test_what_cannot_be_known_is_asked_for(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without an application, an unknown platform, or too little memory: one line, status 2."""
    (project / "pyproject.toml").unlink()
    for arguments, message in (
        (["docker"], "write for example tonnage init docker main:app"),
        (["nowhere", "main:app"], "invalid choice: 'nowhere'"),
        (["docker", "main:app", "--memory", "40M"], "40 MB"),
    ):
        assert main(["init", *arguments]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("Traceback") == 0
    assert [path.name for path in project.iterdir()] == ["migrations"]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("tonnage[sql,postgres]>=1", {"postgres"}),
        ("Tonnage[Redis, mongo]", {"redis", "mongo"}),
        ("psycopg[binary]==3.2", {"postgres"}),
        ("redis>=6 ; python_version > '3'", {"redis"}),
        ("# asyncpg", set()),
        ("-r more.txt", set()),
        ("redistools", set()),
        ("fastapi[redis]", set()),
    ],
)
def test_stores_are_found_in_dependencies(line: str, found: set[str]) -> None:
    """By package, or by an extra of Tonnage's own."""
    assert stores_in([line]) == found


@pytest.mark.parametrize("example", sorted(DEPLOYED))
def test_examples_have_what_init_makes(example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files beside each example are those that init makes today."""
    made = Path("made").resolve()
    monkeypatch.chdir(EXAMPLES / example)
    assert main(["init", *DEPLOYED[example], "--output", str(made)]) == 0
    for path in made.iterdir():
        assert (EXAMPLES / example / path.name).read_text() == path.read_text(), path.name


def test_compose_files_are_valid() -> None:
    """By the compose specification's own schema."""
    found = find_spec("check_jsonschema")
    if found is None or not found.submodule_search_locations:
        pytest.skip("check-jsonschema, which has the schema, is not installed")
    jsonschema: Any = pytest.importorskip("jsonschema")
    place = Path(found.submodule_search_locations[0], "builtin_schemas/vendor/compose-spec.json")
    schema = json.loads(place.read_text())
    jsonschema.validate(yaml.safe_load(init("compose")["compose.yaml"]), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"services": {"app": {"memlimit": "1m"}}}, schema)


def test_kubernetes_objects_are_valid() -> None:
    """By Kubernetes' own schemas, strictly: an unknown key is an error."""
    validate: Any = pytest.importorskip("kubernetes_validate").validate
    for document in yaml.safe_load_all(init("kubernetes")["kubernetes.yaml"]):
        validate(document, "1.30", strict=True)


def test_units_are_valid(tmp_path: Path) -> None:
    """By systemd itself, but for the program's path, which is on the machine it is for."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("there is no systemd-analyze here")
    text = init("systemd")["my-shop.service"].replace("/opt/my-shop/.venv/bin/tonnage", "/bin/true")
    unit = tmp_path / "my-shop.service"
    unit.write_text(text.replace("WorkingDirectory=/opt/my-shop", "WorkingDirectory=/"))
    done = subprocess.run(
        [analyze, "verify", "--man=no", "--recursive-errors=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert done.returncode == 0, done.stderr
    assert "my-shop.service" not in done.stderr


def test_processors_grow_with_a_machines_memory() -> None:
    """Fly gives 2 GB with each shared processor at most, and eight of them at most."""

    def machine(memory: str) -> tuple[str, int]:
        (found,) = tomllib.loads(init("fly", "--memory", memory, "--force")["fly.toml"])["vm"]
        return found["memory"], found["cpus"]

    assert machine("2G") == ("2048mb", 1)
    assert machine("3G") == ("3072mb", 2)
    assert machine("40G") == ("40960mb", 8)


def test_what_the_command_says_is_said_once() -> None:
    """The platform's own bound replaces a longer one, and nothing else of the command."""
    told = ("--memory", "1G", "--stop-seconds", "50", "--proxy-hops", "3")
    lines = init("heroku", *told)["Procfile"].splitlines()
    (web,) = (line for line in lines if line.startswith("web: "))
    for flag, value in (("--memory", "1G"), ("--stop-seconds", "25"), ("--proxy-hops", "3")):
        assert web.count(flag) == 1
        assert f"{flag} {value}" in web
    short = init("heroku", "--stop-seconds", "10", "--force")["Procfile"]
    assert "--stop-seconds 10" in short


def test_files_that_cannot_be_read_or_written_are_named(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, with status 2."""
    (project / "compose.yaml").write_bytes(b"\xff\xfe")
    assert main(["init", "compose"]) == 2
    assert "cannot read compose.yaml" in capsys.readouterr().err
    (project / "taken").write_text("")
    assert main(["init", "docker", "--output", "taken"]) == 2
    assert "cannot " in (message := capsys.readouterr().err)
    assert message.count("\n") == 1
