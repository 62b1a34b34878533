"""`doctor` beside a daemon that runs, and what operators do wrong with one."""

from __future__ import annotations

import resource

import pytest

from tests.end_to_end.harness import a_daemon, until
from tests.end_to_end.senders import Camera
from tests.pictures import weave

pytestmark = pytest.mark.end_to_end


def test_doctor_says_why_a_running_daemon_is_not_ready_who_is_unknown_to_it_and_what_it_lacks() -> None:
    with a_daemon() as daemon:
        daemon.start()
        assert daemon.process is not None
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (1024, 1024))
        with Camera(daemon, "tpo") as misspelt:
            assert misspelt.send_text(weave(1)).startswith(b"ERR")
        until(lambda: daemon.total("frames_refused_total", camera="unknown") > 0, "a counted refusal")
        answer = daemon.admin("doctor", "--json")
        found = {finding["check"]: finding for finding in answer["checks"]}
        assert found["daemon"]["detail"].startswith("runs, not ready: banks: line 4")
        assert "enroll" in found["daemon"]["remedy"]
        assert "never heard since the start: top" in found["cameras"]["detail"]
        assert (found["files"]["outcome"], found["state.daemon"]["outcome"]) == ("note", "ok")
        assert "LimitNOFILE" in found["files"]["remedy"]
        assert str(daemon.process.pid) in found["state.daemon"]["detail"]
        assert {found[name]["outcome"] for name in ("ingest.bind", "publish.bind", "http.bind")} == {"ok"}
