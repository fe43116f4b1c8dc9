"""Files for containers: Dockerfile, .dockerignore and compose.yaml.

Promises: the server is process 1, gets the signals itself, is not root, and finds its limit in the
container. Bounds: each service of a compose file has a memory limit without swap, and what each
keeps in memory fits into it.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Final

from tonnage.commands.deploying.project import REQUIREMENTS
from tonnage.commands.deploying.told import PYTHON, File, Told

#: Who the server is in the container: not root.
USER_ID: Final = 10001
_POSTGRES_RESERVED: Final = 10
# Where files are to be that outlast the container.
_DATA: Final = "/app/data"

# By a bare interpreter, so that asking costs less than 10 MB for an instant.
_ASK: Final = (
    "import os, socket; "
    "s = socket.create_connection(('127.0.0.1', int(os.environ['PORT'])), 3); "
    "s.sendall(b'GET {path} HTTP/1.0\\r\\n\\r\\n'); "
    "raise SystemExit(b' 200 ' not in s.recv(32))"
)

_IGNORED: Final = """\
# What has no place in the image: secrets, data, and what each machine makes for itself.
.env
.env.*
.git
.venv
**/__pycache__
**/*.py[cod]
.mypy_cache
.pytest_cache
.ruff_cache
data
tonnage-spool
"""


def docker(told: Told) -> tuple[File, ...]:
    """Return a Dockerfile and a .dockerignore."""
    return (File("Dockerfile", _dockerfile(told)), File(".dockerignore", _IGNORED, is_shared=True))


def image(told: Told) -> tuple[File, ...]:
    """Return the same as companions of another platform's file: the user's own are kept."""
    return tuple(File(file.name, file.text, is_shared=True) for file in docker(told))


def compose(told: Told) -> tuple[File, ...]:
    """Return a compose.yaml with the stores that are used, and what its image needs."""
    services = [_app_service(told)]
    services += [_migrate_service(told)] if told.migrate else []
    services += [_SERVICES[store](told) for store in _stores(told)]
    volumes = "".join(f"  {name}:\n" for name in _volumes(told))
    text = told.head(
        "",
        "One application container: caches and rate limits are its own.",
        "Secrets are in .env, which is in no image and no repository:",
        *(f"  {line}" for line in _env_lines(told)),
        "Start it with: docker compose up --build",
    )
    text += f"name: {told.project.name}\n\nservices:\n" + "\n".join(services)
    text += f"\nvolumes:\n{volumes}"
    return (File("compose.yaml", text), *image(told))


def _dockerfile(told: Told) -> str:
    ask = json.dumps(["python", "-IS", "-c", _ASK.format(path=told.health_path)])
    migrate = (
        f"# Before a new version: docker run --rm --env DATABASE_URL {told.project.name}"
        f" {told.shell(told.migrate)}\n"
        if told.migrate
        else ""
    )
    secrets = " ".join(f"--env {name}" for name in ("TONNAGE_ADMIN_TOKEN", *told.variables))
    memory = f"--memory {told.memory_mb}m --memory-swap {told.memory_mb}m"
    return (
        told.head(
            "",
            f"docker build --tag {told.project.name} .",
            f"docker run {memory} --stop-timeout {told.grace_seconds} \\",
            f"    --publish {told.port}:{told.port} {secrets} {told.project.name}",
        )
        + f"FROM python:{PYTHON}-slim\n"
        "WORKDIR /app\n\n"
        f"{_install(told)}"
        "RUN python -m compileall -q .\n\n"
        "# Not root. The directory is the user's, for what is spooled and stored;"
        " the code is not.\n"
        "# Not there before the install, which would take it for a package.\n"
        f"RUN useradd --create-home --uid {USER_ID} app && mkdir -p data && chown app . data\n\n"
        f"USER {USER_ID}\n"
        "# With PORT set, it listens on every address of the container.\n"
        f"ENV PORT={told.port} PYTHONUNBUFFERED=1\n"
        f"EXPOSE {told.port}\n"
        f"HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \\\n    CMD {ask}\n\n"
        f"{migrate}"
        "# A list, so that no shell takes the signals; no init is needed either.\n"
        f"CMD {json.dumps(list(told.command))}\n"
    )


def _install(told: Told) -> str:
    if told.project.install == REQUIREMENTS:
        return (
            "# First what changes seldom. pip compiles what it installs, and so it should:\n"
            "# without .pyc files each start compiles anew, and the server keeps 7 MB more.\n"
            "COPY requirements.txt .\n"
            "RUN pip install --no-cache-dir -r requirements.txt\n"
            "COPY . .\n"
        )
    return (
        "# pip compiles what it installs, and so it should: without .pyc files each start\n"
        "# compiles anew, and the server keeps 7 MB more.\n"
        "COPY . .\n"
        f"RUN pip install --no-cache-dir {told.project.install}\n"
    )


def _app_service(told: Told) -> str:
    needed = [f"      {name}: {{condition: service_healthy}}\n" for name in _stores(told)]
    if told.migrate:
        needed.append("      migrate: {condition: service_completed_successfully}\n")
    depends = "    depends_on:\n" + "".join(needed) if needed else ""
    return (
        "  app:\n"
        "    build: .\n"
        f"    command: {_list(told.command)}\n"
        "    # The limit is found from here. As much with swap as without: none.\n"
        f"    mem_limit: {told.memory_mb}m\n"
        f"    memswap_limit: {told.memory_mb}m\n"
        "    # Longer than --stop-seconds, so that what has begun is finished.\n"
        f"    stop_grace_period: {told.grace_seconds}s\n"
        f'    ports: ["{told.port}:{told.port}"]\n'
        f"{_environment(told, admin=True)}"
        "    # What is to stay: data/ of the application, what is spooled, and reports.\n"
        f"    volumes: [app-data:{_DATA}]\n"
        f"{depends}"
        "    restart: unless-stopped\n"
        "    cap_drop: [ALL]\n"
        "    security_opt: [no-new-privileges:true]\n"
    )


def _migrate_service(told: Told) -> str:
    needed = "".join(f"      {name}: {{condition: service_healthy}}\n" for name in _stores(told))
    depends = f"    depends_on:\n{needed}" if needed else ""
    return (
        "  # Once for each deploy, before the application starts.\n"
        "  migrate:\n"
        "    build: .\n"
        f"    command: {_list(told.migrate or ())}\n"
        "    mem_limit: 256m\n"
        "    memswap_limit: 256m\n"
        f"{_environment(told, admin=False)}"
        f"{depends}"
        '    restart: "no"\n'
        "    healthcheck: {disable: true}\n"
    )


def _list(words: Collection[str]) -> str:
    # A dollar would stand for a variable.
    return json.dumps([word.replace("$", "$$") for word in words])


def _environment(told: Told, *, admin: bool) -> str:
    lines = [f"      {name}: {value}\n" for name, value in _urls(told)]
    if admin:
        secrets = ("TONNAGE_ADMIN_TOKEN", *told.secrets)
        lines += [f"      {name}: ${{{name}:-}}\n" for name in secrets]
        lines += [f"      {name}: {_DATA}/{folder}\n" for name, folder in told.unplaced]
    return "    environment:\n" + "".join(lines) if lines else ""


def _urls(told: Told) -> list[tuple[str, str]]:
    """Return what names each store in use; a password stands for itself nowhere."""
    password = "${POSTGRES_PASSWORD:?set it in .env}"
    urls = {
        "postgres": ("DATABASE_URL", f"postgresql://app:{password}@postgres:5432/app"),
        "redis": ("REDIS_URL", "redis://redis:6379/0"),
        "mongo": ("MONGO_URL", f"mongodb://mongo:27017/{told.project.name}"),
    }
    return [urls[store] for store in _stores(told)]


def _stores(told: Told) -> list[str]:
    return [store for store in _SERVICES if store in told.stores]


def _volumes(told: Told) -> list[str]:
    return ["app-data"] + [f"{store}-data" for store in _stores(told) if store != "redis"]


def _env_lines(told: Told) -> list[str]:
    password = ["POSTGRES_PASSWORD=..., of letters and digits"] if "postgres" in told.stores else []
    own = [f"{name}=..., the application's own" for name in told.secrets]
    return [*password, "TONNAGE_ADMIN_TOKEN=..., for what only operators may see", *own]


def _postgres(told: Told) -> str:
    # While a worker is replaced, both have their connections; so have migrations and people.
    most = (told.plan.workers + 1) * told.connections + _POSTGRES_RESERVED
    return (
        "  # Connections: what the application may have, and ten for migrations and people.\n"
        "  postgres:\n"
        "    image: postgres:17-alpine\n"
        f"    command: [postgres, -c, shared_buffers=64MB, -c, max_connections={most}]\n"
        f"{_limit(256)}"
        "    environment:\n"
        "      POSTGRES_USER: app\n"
        "      POSTGRES_PASSWORD: ${POSTGRES_PASSWORD:?set it in .env}\n"
        "    volumes: [postgres-data:/var/lib/postgresql/data]\n"
        f"{_healthcheck('pg_isready', '-U', 'app')}"
        "    restart: unless-stopped\n"
    )


def _redis(told: Told) -> str:
    why, policy = "A cache: what is old makes room.", "allkeys-lru"
    if told.jobs_in_redis:
        why, policy = "It keeps jobs, too: nothing is thrown away.", "noeviction"
    return (
        f"  # {why}\n"
        "  redis:\n"
        "    image: redis:8-alpine\n"
        f"    command: [redis-server, --maxmemory, 64mb, --maxmemory-policy, {policy},"
        ' --save, "", --appendonly, "no"]\n'
        f"{_limit(96)}"
        f"{_healthcheck('redis-cli', 'ping')}"
        "    restart: unless-stopped\n"
    )


def _mongo(told: Told) -> str:
    del told  # its pool is bounded by the application
    return (
        "  mongo:\n"
        "    image: mongo:8\n"
        '    command: [mongod, --bind_ip_all, --wiredTigerCacheSizeGB, "0.25"]\n'
        f"{_limit(768)}"
        "    volumes: [mongo-data:/data/db]\n"
        f"{_healthcheck('mongosh', '--quiet', '--eval', 'db.runCommand({ping: 1}).ok')}"
        "    restart: unless-stopped\n"
    )


def _limit(size_mb: int) -> str:
    return f"    mem_limit: {size_mb}m\n    memswap_limit: {size_mb}m\n"


def _healthcheck(*words: str) -> str:
    test = json.dumps(["CMD", *words])
    return f"    healthcheck: {{test: {test}, interval: 5s, timeout: 5s, retries: 12}}\n"


_SERVICES: Final = {"postgres": _postgres, "redis": _redis, "mongo": _mongo}
