"""Files for hosting platforms: Render, Railway, Fly.io and Heroku.

Promises: one instance, secrets by reference only, the platform waits longer than the server takes
to stop, and migrations run before the new version takes requests.
Does not: know prices, regions or domains; what a file leaves out is the platform's default.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Final

from tonnage.commands.deploying.images import image
from tonnage.commands.deploying.project import REQUIREMENTS, STORES
from tonnage.commands.deploying.told import PYTHON, File, Told

_ONE: Final = (
    "",
    "One instance: caches, rate limits and jobs belong to an instance, and a second one costs as",
    "much memory again.",
)
_HOPS: Final = (
    "For limits by address add --proxy-hops, with as many",
    "entries as X-Forwarded-For has when you call it yourself.",
)

# Instances by what they hold, in MB; more than the last one holds gets the last one.
_RENDER: Final = (
    *((512, "starter"), (2048, "standard"), (4096, "pro"), (8192, "pro plus")),
    *((16384, "pro max"), (32768, "pro ultra")),
)
_HEROKU: Final = (
    *((512, "basic"), (1024, "standard-2x"), (2560, "performance-m"), (14336, "performance-l")),
)
_FLY_STEP_MB: Final = 256
_FLY_MB_PER_CPU: Final = 2048

_RENDER_LONGEST_SECONDS: Final = 300
# Heroku kills 30 s after SIGTERM, whatever one says.
_HEROKU_STOP_SECONDS: Final = 25


def render(told: Told) -> tuple[File, ...]:
    """Return a render.yaml, Render's Blueprint."""
    migrate = f"    preDeployCommand: {_quoted(told.shell(told.migrate))}\n" if told.migrate else ""
    text = told.head(*_ONE) + (
        "services:\n"
        "  - type: web\n"
        f"    name: {told.project.name}\n"
        "    runtime: python\n"
        f"    plan: {_instance(_RENDER, told.memory_mb)}\n"
        "    numInstances: 1\n"
        f"    buildCommand: pip install {told.project.install} && python -m compileall -q .\n"
        f"{migrate}"
        f"    # It listens on 0.0.0.0:$PORT. {_HOPS[0]}\n    # {_HOPS[1]}\n"
        f"    startCommand: {_quoted(told.shell())}\n"
        "    # 200 at every level: a restart for being busy would only lose work.\n"
        f"    healthCheckPath: {told.health_path}\n"
        f"    # More than the {told.stop_seconds:g} s that requests have to finish.\n"
        f"    maxShutdownDelaySeconds: {min(told.grace_seconds, _RENDER_LONGEST_SECONDS)}\n"
        "    envVars:\n"
        "      - key: TONNAGE_ADMIN_TOKEN\n"
        "        generateValue: true\n"
        f"{_render_variables(told)}"
    )
    if "redis" in told.stores:
        text += _render_redis(told)
    if "postgres" in told.stores:
        text += (
            f"\ndatabases:\n  - name: {told.project.name}-db\n    plan: basic-256mb\n"
            "    # Only from inside.\n    ipAllowList: []\n"
        )
    return (File("render.yaml", text),)


def _render_variables(told: Told) -> str:
    name = told.project.name
    sources = {
        "postgres": "        fromDatabase:\n"
        f"          name: {name}-db\n          property: connectionString\n",
        "redis": "        fromService:\n          type: keyvalue\n"
        f"          name: {name}-redis\n          property: connectionString\n",
        "mongo": "        # Asked for in the dashboard.\n        sync: false\n",
    }
    return "".join(
        f"      - key: {STORES[store]}\n{source}"
        for store, source in sources.items()
        if store in told.stores
    ) + "".join(f"      - key: {name}\n        generateValue: true\n" for name in told.secrets)


def _render_redis(told: Told) -> str:
    policy = "noeviction" if told.jobs_in_redis else "allkeys-lru"
    return (
        f"  - type: keyvalue\n    name: {told.project.name}-redis\n    plan: starter\n"
        f"    maxmemoryPolicy: {policy}\n    # Only from inside.\n    ipAllowList: []\n"
    )


def railway(told: Told) -> tuple[File, ...]:
    """Return a railway.toml, and the image that Railway builds."""
    # A container there may have more than is meant to be paid for.
    image_files, told = image(told), _with(told, "--memory", f"{told.memory_mb}M")
    migrate = f"preDeployCommand = {_quoted(told.shell(told.migrate))}\n" if told.migrate else ""
    variables = [
        f"  {name} = ${{{{{service}.{name}}}}}"
        for store, name, service in (
            ("postgres", "DATABASE_URL", "Postgres"),
            ("redis", "REDIS_URL", "Redis"),
            ("mongo", "MONGO_URL", "MongoDB"),
        )
        if store in told.stores
    ]
    variables += [f"  {name}, sealed" for name in ("TONNAGE_ADMIN_TOKEN", *told.secrets)]
    text = told.head(*_ONE, "", "Variables of the service:", *variables) + (
        "[build]\n"
        'builder = "DOCKERFILE"\n'
        'dockerfilePath = "Dockerfile"\n\n'
        "[deploy]\n"
        f"# It listens on 0.0.0.0:$PORT. {_HOPS[0]}\n# {_HOPS[1]}\n"
        f"startCommand = {_quoted(told.shell())}\n"
        f"{migrate}"
        f"healthcheckPath = {_quoted(told.health_path)}\n"
        "healthcheckTimeout = 60\n"
        "numReplicas = 1\n"
        f"# More than the {told.stop_seconds:g} s that requests have to finish.\n"
        f"drainingSeconds = {told.grace_seconds}\n"
        'restartPolicyType = "ON_FAILURE"\n'
        "restartPolicyMaxRetries = 10\n"
    )
    return (File("railway.toml", text), *image_files)


def fly(told: Told) -> tuple[File, ...]:
    """Return a fly.toml, and the image that Fly.io builds."""
    # The last entry of X-Forwarded-For is the address of the application at Fly.io itself.
    image_files, told = image(told), _behind(told, 2)
    secrets = " ".join(f"{name}=..." for name in ("TONNAGE_ADMIN_TOKEN", *told.variables))
    deploy = (
        "[deploy]\n# In a machine of its own, before the new version starts.\n"
        f"release_command = {_quoted(told.shell(told.migrate))}\n\n"
        if told.migrate
        else ""
    )
    text = told.head(
        *_ONE,
        f"Secrets: fly secrets set {secrets}",
        "First deploy: fly launch --no-deploy, then fly deploy --ha=false, for one machine.",
    ) + (
        f"app = {_quoted(told.project.name)}\n"
        "# SIGINT is Fly's own; both drain, and it gets more than the"
        f" {told.stop_seconds:g} s that takes.\n"
        'kill_signal = "SIGTERM"\n'
        f"kill_timeout = {told.grace_seconds}\n\n"
        '[build]\ndockerfile = "Dockerfile"\n\n'
        f"{deploy}"
        f'[env]\nPORT = "{told.port}"\n\n'
        "[processes]\n# Two hops: the proxy adds the client's address and its own.\n"
        f"app = {_quoted(told.shell())}\n\n"
        f"{_fly_service(told)}"
    )
    return (File("fly.toml", text), *image_files)


def _fly_service(told: Told) -> str:
    memory_mb = math.ceil(told.memory_mb / _FLY_STEP_MB) * _FLY_STEP_MB
    processors = 1
    while processors * _FLY_MB_PER_CPU < memory_mb and processors < 8:
        processors *= 2
    return (
        "[http_service]\n"
        'processes = ["app"]\n'
        f"internal_port = {told.port}\n"
        "force_https = true\n"
        "# Stopping it would empty the caches.\n"
        'auto_stop_machines = "off"\n'
        "auto_start_machines = true\n"
        "min_machines_running = 1\n\n"
        "[[http_service.checks]]\n"
        'method = "GET"\n'
        f"path = {_quoted(told.health_path)}\n"
        'grace_period = "30s"\ninterval = "15s"\ntimeout = "5s"\n\n'
        "# A machine's kernel takes some of it; what is left is found at the start.\n"
        "[[vm]]\n"
        f'memory = "{memory_mb}mb"\ncpu_kind = "shared"\ncpus = {processors}\n'
    )


def heroku(told: Told) -> tuple[File, ...]:
    """Return Procfile, app.json and .python-version, and a requirements.txt where there is none."""
    # What a dyno may have is not what its container shows.
    told = _with(told, "--memory", f"{told.memory_mb}M")
    if told.stop_seconds > _HEROKU_STOP_SECONDS:
        told = _with(told, "--stop-seconds", str(_HEROKU_STOP_SECONDS), replaces=True)
    told = _behind(told, 1)
    release = f"release: {told.shell(told.migrate)}\n" if told.migrate else ""
    procfile = told.head(*_ONE, "Dynos are killed 30 s after SIGTERM: it takes less to stop.")
    files = [
        File("Procfile", f"{procfile}{release}web: {told.shell()}\n"),
        File("app.json", _app_json(told)),
        File(".python-version", f"{PYTHON}\n", is_shared=True),
    ]
    if told.project.install != REQUIREMENTS:
        text = f"# Heroku installs from here.\n{told.project.install}\n"
        files.append(File("requirements.txt", text, is_shared=True))
    return tuple(files)


def _app_json(told: Told) -> str:
    """Return app.json: no comments can be in it, so what is to be said is in descriptions."""
    env: dict[str, object] = {
        "TONNAGE_ADMIN_TOKEN": {
            "description": "Shows what only operators may see",
            "generator": "secret",
        }
    }
    env |= {name: {"generator": "secret"} for name in told.secrets}
    if "mongo" in told.stores:
        env["MONGO_URL"] = {"description": "Where MongoDB is: mongodb+srv://...", "required": True}
    addons = {"postgres": "heroku-postgresql:essential-0", "redis": "heroku-redis:mini"}
    size = _instance(_HEROKU, told.memory_mb)
    content = {
        "name": told.project.name,
        "description": f"Planned by Tonnage for {told.memory_mb} MB: one dyno",
        "buildpacks": [{"url": "heroku/python"}],
        "env": env,
        "formation": {"web": {"quantity": 1, "size": size}},
        "addons": [{"plan": addons[store]} for store in addons if store in told.stores],
    }
    return json.dumps(content, indent=2) + "\n"


def _behind(told: Told, proxies: int) -> Told:
    """Return *told* with the platform's proxies counted, where nobody has."""
    return _with(told, "--proxy-hops", str(proxies))


def _with(told: Told, flag: str, value: str, *, replaces: bool = False) -> Told:
    command = list(told.command)
    if flag in command:
        if not replaces:
            return told
        at = command.index(flag)
        del command[at : at + 2]
    return replace(told, command=(*command, flag, value))


def _instance(sizes: tuple[tuple[int, str], ...], memory_mb: int) -> str:
    return next((name for size_mb, name in sizes if size_mb >= memory_mb), sizes[-1][1])


def _quoted(text: str) -> str:
    # A string of JSON is one of YAML and of TOML, too.
    return json.dumps(text)
