"""Files for hosts of one's own: a systemd unit, and Kubernetes' objects.

Promises: the limit is the kernel's, without swap; the server is not root and writes only where it
has to; it has longer to stop than requests have to finish.
"""

from __future__ import annotations

import json
from typing import Final

from tonnage.commands.deploying.images import USER_ID, image
from tonnage.commands.deploying.told import File, Told

# Of the processor time that a pod has asked for; beyond this there is to be another.
_BUSY_PERCENT: Final = 80
_MOST_PODS: Final = 3
# On average in a pod: so many wait now and then where memory is just enough.
_WAITING_REQUESTS: Final = 2


def systemd(told: Told) -> tuple[File, ...]:
    """Return a unit for a project in /opt with a virtual environment of its own."""
    name = told.project.name
    binary = f"/opt/{name}/.venv/bin/"
    migrate = (
        "# Brings the database up to date first, however long that takes.\n"
        f"ExecStartPre={binary}{_escaped(told.shell(told.migrate))}\nTimeoutStartSec=infinity\n"
        if told.migrate
        else ""
    )
    text = told.head(
        "",
        f"Code and .venv are in /opt/{name}; copy this to /etc/systemd/system/{name}.service.",
        f"Secrets are in /etc/{name}.env, mode 600: "
        + ", ".join(("TONNAGE_ADMIN_TOKEN", *told.variables)),
    ) + (
        "[Unit]\n"
        f"Description={name}, kept within {told.memory_mb} MB by Tonnage\n"
        "After=network-online.target\nWants=network-online.target\n\n"
        "[Service]\nType=exec\n"
        f"WorkingDirectory=/opt/{name}\n"
        f"EnvironmentFile=-/etc/{name}.env\n"
        "# On 127.0.0.1, for a proxy in front; TONNAGE_HOST=0.0.0.0 is for everyone.\n"
        f"Environment=TONNAGE_PORT={told.port} PYTHONUNBUFFERED=1\n"
        f"Environment=XDG_RUNTIME_DIR=/run/{name}\n"
        f"{_placed(told)}"
        f"{migrate}"
        f"ExecStart={binary}{_escaped(told.shell())}\n"
        "ExecReload=/bin/kill -HUP $MAINPID\n"
        "Restart=on-failure\n"
        "# Tonnage tells its processes itself; after this long all are killed.\n"
        "KillMode=mixed\n"
        f"TimeoutStopSec={told.grace_seconds}\n\n"
        "# No MemoryHigh: being slowed down there, the server could not act before the limit.\n"
        f"MemoryMax={told.memory_mb}M\nMemorySwapMax=0\n"
        "# Should the kernel ever kill a worker, the supervisor replaces it.\n"
        "OOMPolicy=continue\n"
        "LimitNOFILE=65536\n\n"
        "# A user that exists while it runs, and writes to these directories only.\n"
        f"DynamicUser=yes\nStateDirectory={name}\nRuntimeDirectory={name}\n"
        f"{_UNIT_CONFINED}\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )
    return (File(f"{name}.service", text),)


_UNIT_CONFINED: Final = (
    "NoNewPrivileges=yes\nProtectSystem=strict\nProtectHome=yes\nPrivateTmp=yes\n"
    "PrivateDevices=yes\nProtectKernelTunables=yes\nProtectKernelModules=yes\n"
    "ProtectControlGroups=yes\nRestrictNamespaces=yes\nRestrictSUIDSGID=yes\n"
    "LockPersonality=yes\nCapabilityBoundingSet=\n"
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX\n"
    "# No ProcSubset=pid, which hides the host's memory, and no MemoryDenyWriteExecute, which\n"
    "# some extension modules do not bear.\n"
)


def _placed(told: Told) -> str:
    return "".join(
        f"Environment={name}=/var/lib/{told.project.name}/{folder}\n"
        for name, folder in told.unplaced
    )


def _escaped(command: str) -> str:
    # Both begin something else in a unit.
    return command.replace("%", "%%").replace("$", "$$")


def kubernetes(told: Told) -> tuple[File, ...]:
    """Return a Deployment, a Service and a HorizontalPodAutoscaler, and what the image needs."""
    name = told.project.name
    secrets = " ".join(
        f"--from-literal={each}=..." for each in ("TONNAGE_ADMIN_TOKEN", *told.variables)
    )
    head = told.head(
        "",
        f"Build and push the image, and put its name in place of {name}:latest.",
        f"Secrets: kubectl create secret generic {name} {secrets}",
    )
    text = "---\n".join((head + _deployment(told), _service(told), _autoscaler(told)))
    return (File("kubernetes.yaml", text), *image(told))


def _deployment(told: Told) -> str:
    name = told.project.name
    memory = f"{told.memory_mb}Mi"
    return (
        "apiVersion: apps/v1\nkind: Deployment\n"
        f"metadata:\n  name: {name}\n  labels: {{app: {name}}}\n"
        "spec:\n"
        "  # No replicas: how many there are is the autoscaler's to say.\n"
        f"  selector:\n    matchLabels: {{app: {name}}}\n"
        "  template:\n"
        f"    metadata:\n      labels: {{app: {name}}}\n"
        "      # Where Prometheus looks for these; it needs the token as well.\n"
        f'      annotations: {{prometheus.io/scrape: "true", prometheus.io/port: "{told.port}"}}\n'
        "    spec:\n"
        f"      # More than the {told.stop_seconds:g} s that requests have to finish.\n"
        f"      terminationGracePeriodSeconds: {told.grace_seconds}\n"
        "      # A service called tonnage would set TONNAGE_PORT.\n"
        "      enableServiceLinks: false\n"
        "      automountServiceAccountToken: false\n"
        "      securityContext:\n"
        f"        runAsNonRoot: true\n        runAsUser: {USER_ID}\n"
        "        seccompProfile: {type: RuntimeDefault}\n"
        f"{_init_containers(told)}"
        "      containers:\n"
        "        - name: app\n"
        f"          image: {name}:latest\n"
        f"          command: {json.dumps(list(told.command))}\n"
        f"          ports: [{{name: http, containerPort: {told.port}}}]\n"
        f"{_env(told, ('TONNAGE_ADMIN_TOKEN', *told.variables))}"
        "          # Memory is promised in full, so that the node never takes it back.\n"
        "          resources:\n"
        f"            requests: {{memory: {memory}, cpu: 250m}}\n"
        f"            limits: {{memory: {memory}}}\n"
        "          # 200 at every level: a restart for being busy would only lose work.\n"
        f"{_probe('startupProbe', told.health_path, 'periodSeconds: 2', 'failureThreshold: 30')}"
        f"{_probe('livenessProbe', told.health_path, 'periodSeconds: 10', 'timeoutSeconds: 5')}"
        "          # 503 while memory is exhausted, or it stops: requests go elsewhere.\n"
        f"{_probe('readinessProbe', f'{told.health_path}/ready', 'periodSeconds: 5')}"
        f"{_POD_CONFINED}"
    )


_POD_CONFINED: Final = (
    "          securityContext:\n"
    "            allowPrivilegeEscalation: false\n"
    "            capabilities: {drop: [ALL]}\n"
)


def _init_containers(told: Told) -> str:
    if not told.migrate:
        return ""
    return (
        "      # Of several instances that start, one migrates and the others wait for it.\n"
        "      initContainers:\n"
        "        - name: migrate\n"
        f"          image: {told.project.name}:latest\n"
        f"          command: {json.dumps(list(told.migrate))}\n"
        f"{_env(told, told.variables)}"
        "          resources:\n"
        "            requests: {memory: 256Mi}\n"
        "            limits: {memory: 256Mi}\n"
        f"{_POD_CONFINED}"
    )


def _env(told: Told, names: tuple[str, ...]) -> str:
    port = f'            - {{name: PORT, value: "{told.port}"}}\n'
    return f"          env:\n{port}" + "".join(
        f"            - name: {name}\n"
        f"              valueFrom: {{secretKeyRef: {{name: {told.project.name}, key: {name}}}}}\n"
        for name in names
    )


def _probe(kind: str, path: str, *more: str) -> str:
    lines = (f"httpGet: {{path: {path}, port: http}}", *more)
    return f"          {kind}:\n" + "".join(f"            {line}\n" for line in lines)


def _service(told: Told) -> str:
    name = told.project.name
    return (
        f"apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n"
        f"spec:\n  selector: {{app: {name}}}\n"
        "  ports: [{name: http, port: 80, targetPort: http}]\n"
    )


def _autoscaler(told: Told) -> str:
    name = told.project.name
    if "redis" in told.stores:
        most, why = _MOST_PODS, "Caches and rate limits are shared through Redis: there may be more"
    else:
        most, why = 1, "Caches and rate limits belong to an instance: raise it with REDIS_URL set"
    return (
        "# By requests that wait for memory, and by processor time, whichever asks for more.\n"
        "# Memory in use is no sign of load, since caches use what is free. The first needs\n"
        "# Prometheus, which scrapes /metrics with the token, and its adapter, which makes a\n"
        "# metric of pods of it: see Tonnage's docs/how-to/metrics.md. Without them the second\n"
        "# alone adds pods, and none is taken away.\n"
        "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\n"
        f"metadata:\n  name: {name}\n"
        "spec:\n"
        f"  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: {name}}}\n"
        f"  minReplicas: 1\n  # {why}.\n  maxReplicas: {most}\n"
        "  metrics:\n"
        "    - type: Pods\n"
        "      pods:\n"
        "        metric: {name: tonnage_requests_waiting}\n"
        f'        target: {{type: AverageValue, averageValue: "{_WAITING_REQUESTS}"}}\n'
        "    - type: Resource\n"
        "      resource:\n"
        "        name: cpu\n"
        f"        target: {{type: Utilization, averageUtilization: {_BUSY_PERCENT}}}\n"
    )
