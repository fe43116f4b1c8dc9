"""Metrics sent on by OpenTelemetry: to a real receiver, as its protocol has them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.sdk.resources import Resource
from tests.ops.metrics.figures import UNIX_SECONDS, views
from tests.support.server import ROOT, Running, clean_environment
from tests.support.slowness import SLOWNESS
from tests.support.waiting import await_true

from tonnage.cli.main import main
from tonnage.commands.otel.reading import by_url
from tonnage.commands.otel.translate import data_from
from tonnage.errors import ActionError, ConfigError
from tonnage.host.processes import descendants

MOST_RESIDENT_BYTES = 64 * 2**20


class Receiver(ThreadingHTTPServer):
    """A receiver of OTLP over HTTP."""

    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[ExportMetricsServiceRequest] = []
        self.headers: dict[str, str] = {}
        self.status = 200

    @property
    def url(self) -> str:
        """Where it is, as OTEL_EXPORTER_OTLP_ENDPOINT has it."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def metrics(self) -> dict[str, Any]:
        """Return what came last, by name."""
        (resource,) = self.received[-1].resource_metrics
        (scope,) = resource.scope_metrics
        return {metric.name: metric for metric in scope.metrics}

    def resource(self) -> dict[str, str]:
        """Return what the last said of where it comes from."""
        (found,) = self.received[-1].resource_metrics
        return {each.key: each.value.string_value for each in found.resource.attributes}


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        assert self.path == "/v1/metrics"
        self.server.headers = {name.lower(): value for name, value in self.headers.items()}
        if self.server.status == 200:
            self.server.received.append(ExportMetricsServiceRequest.FromString(body))
        self.send_response(self.server.status)
        self.send_header("content-type", "application/x-protobuf")
        self.end_headers()
        self.wfile.write(ExportMetricsServiceResponse().SerializeToString())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Yield a receiver that runs."""
    with Receiver() as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.02,))
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def translated() -> dict[str, Any]:
    """Return the metrics of the usual figures, by name."""
    text = views()["/metrics"]("").body.decode()
    data = data_from(text, Resource({}), 42)
    (scope,) = data.resource_metrics[0].scope_metrics
    return {metric.name: metric for metric in scope.metrics}


def test_what_only_grows_is_a_monotonic_sum() -> None:
    """Since the start of the server; names are those of Prometheus."""
    found = translated()
    (hits,) = found["tonnage_cache_hits_total"].data.data_points
    assert found["tonnage_cache_hits_total"].data.is_monotonic
    assert (dict(hits.attributes), hits.value) == ({"name": "days"}, 812)
    assert hits.start_time_unix_nano == round((UNIX_SECONDS - 60) * 1e9)
    assert hits.time_unix_nano == 42
    level = found["tonnage_level"].data
    assert not hasattr(level, "is_monotonic")
    assert [point.value for point in level.data_points] == [1]
    units = {name: metric.unit for name, metric in found.items()}
    assert units["tonnage_memory_limit_bytes"] == "By"
    assert units["tonnage_worker_age_seconds"] == "s"


def test_a_histogram_has_each_request_in_one_bucket() -> None:
    """Unlike that of Prometheus, in which larger ones have the smaller."""
    points = translated()["tonnage_request_duration_seconds"].data.data_points
    point = next(each for each in points if each.attributes == {"route": "GET /events/{id}"})
    assert point.bucket_counts == [50, 40, *(1,) * 12]
    assert len(point.explicit_bounds) == 13
    assert (point.explicit_bounds[0], point.explicit_bounds[-1]) == (0.001, 10)
    assert (point.count, point.sum) == (102, 1.5)


def test_every_family_comes_through() -> None:
    """None shares its name with another."""
    text = views()["/metrics"]("").body.decode()
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert set(translated()) == names


@pytest.mark.parametrize(
    "text", ["", "<html>", "up 1\n", 'tonnage_level{a="b" 1\n', "# TYPE a b\nc{} d\n"]
)
def test_what_are_no_metrics_is_told(text: str) -> None:
    """Whatever the address leads to."""
    with pytest.raises(ActionError, match="what was read are no metrics"):
        data_from(text, Resource({}), 42)


def test_an_answer_of_something_else_is_told_in_one_line() -> None:
    """As of a health endpoint: not half of its body."""
    body = '{"status":"ok","memory":{"limit":' + "1,\n" * 400 + "}}"
    with pytest.raises(ActionError) as error:
        data_from(body, Resource({}), 42)
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 130
    assert '{"status":"ok"' in str(error.value)


def test_the_token_is_not_sent_in_the_open() -> None:
    """To another machine, only where the connection is encrypted."""
    with pytest.raises(ConfigError, match="not sent to shop"):
        by_url("http://shop.example/metrics", "secret")
    for url in ("https://shop.example/metrics", "http://127.0.0.1:8000/metrics"):
        by_url(url, "secret")
    by_url("http://shop.example/metrics", None)


def otel(*words: str, receiver: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start ``tonnage otel``."""
    told = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver, "OTEL_METRIC_EXPORT_INTERVAL": "200"}
    return subprocess.Popen(
        [sys.executable, "-m", "tonnage", "otel", *words],
        cwd=ROOT,
        env=clean_environment() | told | dict(env or {}),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def sending(*words: str, receiver: str) -> Iterator[subprocess.Popen[str]]:
    """Run ``tonnage otel`` until the block ends."""
    process = otel(*words, receiver=receiver)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def resident_bytes(pid: int) -> int:
    """Return what process *pid* has in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """Yield a server."""
    env = {"TONNAGE_ADMIN_TOKEN": "metrics-of-a-shop"}
    with Running("tests.ops.metrics.shop:app", "--memory", "300M", env=env) as running:
        running.get("/days/3")
        yield running


@pytest.mark.real
def test_a_server_is_sent_on(server: Running, receiver: Receiver) -> None:
    """Over the control socket, again and again, in a process that stays small; then it stops."""
    with sending("--control", str(server.control), receiver=receiver.url) as process:
        await_true(lambda: len(receiver.received) >= 3, "three exports", 20)
        await_true(lambda: "tonnage_requests_total" in receiver.metrics(), "the requests", 20)
        assert resident_bytes(process.pid) < MOST_RESIDENT_BYTES
        assert not descendants(process.pid)
        process.terminate()
        _, said = process.communicate(timeout=10)
        assert (process.returncode, said) == (0, "")
    metrics = receiver.metrics()
    assert metrics["tonnage_memory_limit_bytes"].gauge.data_points[0].as_int == 300 * 2**20
    assert metrics["tonnage_requests_total"].sum.is_monotonic
    assert receiver.resource()["service.name"] == "tonnage"


# Told to stop in the moment in which whoever waits has the lock that stopping takes.
TOLD_AS_IT_WAITS = """
import os, signal, sys, threading
wait = threading.Condition.wait

def wait_told(self, timeout=None):
    if sys._getframe(2).f_code.co_name == "until_stopped":
        os.kill(os.getpid(), signal.SIGTERM)
    return wait(self, timeout)

from tonnage.cli.main import main
threading.Condition.wait = wait_told
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.real
def test_it_stops_in_any_moment(server: Running, receiver: Receiver) -> None:
    """Also when it has just begun to wait."""
    words = ("otel", "--control", str(server.control))
    ended = subprocess.run(
        [sys.executable, "-c", TOLD_AS_IT_WAITS, *words],
        cwd=ROOT,
        env=clean_environment() | {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url},
        stdin=subprocess.DEVNULL,
        timeout=20 * SLOWNESS,
        check=False,
    )
    assert ended.returncode == 0


@pytest.mark.real
def test_what_the_environment_says_is_heeded(server: Running, receiver: Receiver) -> None:
    """The name of the service, headers for the receiver; and a server elsewhere by its URL."""
    env = {
        "OTEL_SERVICE_NAME": "shop",
        "OTEL_EXPORTER_OTLP_HEADERS": "api-key=abc",
        "TONNAGE_ADMIN_TOKEN": "metrics-of-a-shop",
    }
    words = ("--once", "--url", f"{server.url}/metrics")
    process = otel(*words, receiver=receiver.url, env=env)
    _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (0, "")
    assert receiver.resource()["service.name"] == "shop"
    assert receiver.headers["api-key"] == "abc"
    assert "metrics-of-a-shop" not in str(receiver.headers)


@pytest.mark.real
def test_a_receiver_that_refuses_is_told(server: Running, receiver: Receiver) -> None:
    """Once: by the exit status. For ever: in the log, and it is tried again."""
    receiver.status = 400
    words = ("--control", str(server.control))
    process = otel(*words, "--once", receiver=receiver.url)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "the receiver has not taken the metrics" in said
    assert "Traceback" not in said
    with sending(*words, receiver=receiver.url):
        receiver.status = 200
        await_true(lambda: receiver.received, "an export", 20)


@pytest.mark.real
def test_it_stops_while_the_receiver_is_away(server: Running, receiver: Receiver) -> None:
    """Though OpenTelemetry's exporter tries for ten seconds."""
    receiver.status = 503
    with sending("--control", str(server.control), receiver=receiver.url) as process:
        await_true(lambda: receiver.headers, "a request", 20)
        process.terminate()
        assert process.wait(timeout=8) == 0


def test_what_is_not_installed_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what to write."""
    monkeypatch.setitem(sys.modules, "tonnage.commands.otel.sending", None)
    assert main(["otel", "--url", "http://127.0.0.1:1/metrics"]) == 2
    assert "this needs: pip install 'tonnage[otel]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "env", "message"),
    [
        (("--url", "http://127.0.0.1:1/metrics"), {}, "has no metrics for us"),
        (("--url", "shop"), {}, "is not the URL of a server"),
        (("--url", "http://127.0.0.1:1/", "--port", "1"), {}, "--url goes with no other"),
        (("--host", "localhost", "--control", "/x"), {}, "--host goes with --port"),
        ((), {"OTEL_METRIC_EXPORT_INTERVAL": "1s"}, "write milliseconds"),
    ],
)
def test_mistakes_are_one_line(
    words: tuple[str, ...],
    env: dict[str, str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without a traceback."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert main(["otel", "--once", *words]) in (1, 2)
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
