"""A real Prometheus beside a test: its own port on loopback and its own folder, ended by its id."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

from tests.deploy.monitoring_files import PROMETHEUS, RULES
from tests.end_to_end.harness import clean_environment, until
from tests.ports import free_ports

SCRAPE_EVERY = "1s"
EVALUATE_EVERY = "1s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prometheus:
    """Asks its HTTP interface. A query that Prometheus refuses raises AssertionError with its own words."""

    port: int

    def ask(self, page: str, **parameters: object) -> Any:
        """The `data` of an answer of /api/v1."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{page}?{urlencode(parameters, doseq=True)}"
        try:
            with urlopen(url, timeout=20) as reply:
                return json.load(reply)["data"]
        except HTTPError as error:
            with error:
                raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def series(self, expr: str) -> list[dict[str, Any]]:
        """Each series of an expression now: {"metric": labels, "value": [time, text]}."""
        return list(self.ask("query", query=expr)["result"])

    def number(self, expr: str) -> float:
        """The value of an expression of one series, 0 where there is none."""
        return sum(float(each["value"][1]) for each in self.series(expr))

    @property
    def answers(self) -> bool:
        """Whether it is up."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=5) as reply:
                return bool(reply.status == 200)
        except (HTTPError, URLError, OSError):
            return False


@contextmanager
def a_prometheus(home: Path, *, scrapes: int) -> Iterator[Prometheus]:
    """The configuration and the rules of deploy/, but a daemon on port `scrapes`, and more often."""
    home.mkdir()
    configuration = yaml.safe_load(PROMETHEUS.read_text(encoding="utf-8"))
    configuration["global"] = {"scrape_interval": SCRAPE_EVERY, "evaluation_interval": EVALUATE_EVERY}
    configuration["global"]["scrape_timeout"] = SCRAPE_EVERY
    configuration["rule_files"] = [str(RULES)]
    configuration["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{scrapes}"]
    (home / "prometheus.yml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
    (port,) = free_ports(1)
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={home / 'prometheus.yml'}",
                f"--storage.tsdb.path={home / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=warn",
            ],
            stdout=log,
            stderr=log,
            env=clean_environment(),
        )
    server = Prometheus(port=port)

    def look() -> bool:
        assert process.poll() is None, f"Prometheus ended:\n{(home / 'log').read_text()}"
        return server.answers

    try:
        until(look, "Prometheus")
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
