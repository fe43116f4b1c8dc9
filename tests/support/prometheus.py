"""A real Prometheus of Debian's package ``prometheus``, and its promtool.

with Prometheus(server.port, token="...") as prometheus:
    prometheus.await_scrapes(3)
    assert prometheus.ask("resets(tonnage_requests_total[1m])") == {...}
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from tests.support.missing import give_up
from tests.support.ports import free_port
from tests.support.waiting import await_true

_START_SECONDS = 20.0
_CONFIG = """\
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
  - job_name: tonnage
    authorization: {{credentials: "{token}"}}
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""

Samples = dict[tuple[tuple[str, str], ...], float]


def program(name: str) -> str | None:
    """Return where *name* is, one of the package's programs; None: it is not installed."""
    return shutil.which(name)


class Prometheus:
    """A Prometheus that scrapes one server; a context manager.

    Args:
        port: the server's, on loopback.
        token: that opens its metrics.
    """

    def __init__(self, port: int, token: str) -> None:
        self._config = _CONFIG.format(port=port, token=token)

    def __enter__(self) -> Self:
        found = program("prometheus")
        if found is None:
            give_up("prometheus", "Debian has it in a package of that name")
        address = f"127.0.0.1:{free_port()}"
        self._url = f"http://{address}/"
        with ExitStack() as stack:
            place = stack.enter_context(tempfile.TemporaryDirectory(prefix="tonnage-test-"))
            config = Path(place, "prometheus.yml")
            config.write_text(self._config)
            # fmt: off
            self._process = stack.enter_context(subprocess.Popen(
                [found, f"--config.file={config}", f"--storage.tsdb.path={place}/data",
                 f"--web.listen-address={address}", "--log.level=error"],
                cwd=place, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            ))
            # fmt: on
            stack.callback(self._process.kill)
            await_true(self._is_ready, "Prometheus", _START_SECONDS)
            self._end = stack.pop_all().close
        return self

    def __exit__(self, *details: object) -> None:
        self._end()

    def ask(self, query: str) -> Samples:
        """Return what *query* gives now: values by labels, without those of the target.

        Raises:
            AssertionError: Prometheus does not understand it.
        """
        path = "api/v1/query?" + urllib.parse.urlencode({"query": query})
        try:
            with urllib.request.urlopen(self._url + path, timeout=10) as answer:
                found = json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{query}: {error.read().decode()}") from None
        return dict(map(_sample, found["data"]["result"]))

    def await_scrapes(self, count: int, within_seconds: float = 20.0) -> None:
        """Wait until the server has been scraped *count* times, counted from now."""
        before = self._scrapes()
        await_true(lambda: self._scrapes() >= before + count, "scrapes", within_seconds)

    def _scrapes(self) -> float:
        return sum(self.ask("sum_over_time(up[5m])").values())

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, "Prometheus has ended"
        try:
            with urllib.request.urlopen(self._url + "-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def _sample(found: dict[str, Any]) -> tuple[tuple[tuple[str, str], ...], float]:
    labels = {key: text for key, text in found["metric"].items() if key not in ("instance", "job")}
    return tuple(sorted(labels.items())), float(found["value"][1])
