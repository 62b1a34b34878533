"""`report`: what the page says of full, empty and damaged windows, and that nothing from outside runs in it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.decide import Decision, Thresholds, ThresholdState
from daemon import feedback
from daemon.drift import DriftAlarm, LineDrift
from daemon.feedback import Feedback, Label
from daemon.flow import Verdict
from daemon.records import Records
from daemon.report import pictures
from tests.daemon.admin.conftest import Answer, Installation
from tests.daemon.test_records import a_bank, a_change, a_verdict, an_uninspected

Admin = Callable[..., Answer]
HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}"
HEADER = (
    '{"calibration":{"reference_scores":[-1,0,1],"calibration_scores":[],"expected_false_rejects":0.25,'
    '"upper_false_rejects":null,"thresholds":{"reject":3.5,"review":3.5,"state":"provisional"}}}'
)


class Page(HTMLParser):
    """What a reader needs to know of a page: every tag with its attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._silent = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._silent = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._silent = False

    def handle_data(self, data: str) -> None:
        self.text += "" if self._silent else data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def now() -> datetime:
    return datetime.now(UTC)


def parts(count: int, **changes: object) -> list[Verdict]:
    """One a minute up to now: every tenth is rejected, every twentieth uninspected."""
    verdicts = []
    for number in range(count):
        at = now() - timedelta(minutes=count - number)
        if number % 20 == 7:
            verdict = an_uninspected(f"k{number}")
        elif number % 10 == 3:
            verdict = replace(a_verdict(f"k{number}"), score=4.0 + number / 100, part=f"A{number}")
        else:
            verdict = replace(a_verdict(f"k{number}", decision=Decision.ACCEPT), score=number % 3 - 1.0)
        verdicts.append(replace(verdict, decided_at=at, heatmap=None, **changes))
    return verdicts


def enrol(records: Records, **changes: object) -> None:
    """Yesterday; and an hour ago somebody moved the threshold."""
    records.assign(
        replace(a_change(), at=now() - timedelta(days=1)),
        expected_revision=None,
        bank=replace(a_bank(), header=HEADER),
    )
    moved = Thresholds(reject=3.2, review=2.9, state=ThresholdState.MANUAL)
    records.assign(
        replace(a_change(thresholds=moved, action="threshold"), at=now() - timedelta(hours=1), **changes),
        expected_revision=1,
    )


def write_picture(state: Path, relative: str, *, width: int = 64) -> None:
    (state / relative).parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(state / relative), np.full((width // 2, width, 3), 90, np.uint8))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "report.html"


def test_the_page_counts_what_the_database_holds(admin: Admin, records: Records, out: Path) -> None:
    enrol(records)
    records.insert_inspections(parts(120))
    answer = admin("report", "--line", 4, "--since", "4h", "--out", out, "--json")
    assert answer.code == 0
    assert answer.json["parts"] == 120
    assert (answer.json["accept"], answer.json["reject"], answer.json["uninspected"]) == (102, 12, 6)
    page = Page(out.read_text())
    assert "Line 4: looms" in page.text
    assert "no answer came before the line's deadline" in page.text
    assert "set by hand: nothing is promised" in page.text
    names = {attributes.get("aria-labelledby") for attributes in page.named("figure")}
    assert names >= {
        f"{name}-title" for name in ("counts", "not-accepted", "uninspected", "scores", "drift", "latency")
    }
    assert "moved" not in page.text
    assert re.search(r"tester\s*threshold", page.text)


def test_the_promise_on_the_page_is_that_of_the_threshold_as_it_is_now(
    admin: Admin, records: Records, out: Path
) -> None:
    fields = json.loads(HEADER)
    fields["calibration"] |= {"calibration_scores": list(range(19)), "expected_false_rejects": 0.05}
    bank = replace(a_bank(), header=json.dumps(fields))
    moved = Thresholds(reject=15.5, review=15.5, state=ThresholdState.CALIBRATED)
    change = replace(a_change(thresholds=moved), at=now() - timedelta(days=1))
    records.assign(change, expected_revision=None, bank=bank)
    records.insert_inspections(parts(3))
    admin("report", "--line", 4, "--out", out)
    assert "calibrated with 19 good parts: on average at most 20.00% of good" in Page(out.read_text()).text


def keep_drift(installation: Installation, **changes: object) -> None:
    """The watch of line 4 as a daemon keeps it."""
    watch = LineDrift(line=4, revision=1, bank_sha256="ab" * 32, samples=99, since=now().isoformat())
    installation.state.mkdir(exist_ok=True)
    kept = {"4": asdict(replace(watch, **changes))}  # type: ignore[arg-type]
    (installation.state / "drift.json").write_text(json.dumps(kept))


def an_alarm(minutes_ago: int, ended: int | None = None, direction: str = "higher") -> DriftAlarm:
    end = None if ended is None else (now() - timedelta(minutes=ended)).isoformat()
    at = (now() - timedelta(minutes=minutes_ago)).isoformat()
    return DriftAlarm(at=at, direction=direction, parts=87, bank_sha256="ab" * 32, revision=1, ended_at=end)


def test_the_drift_watchs_alarms_are_drawn_when_they_were_raised_and_for_as_long_as_they_stood(
    admin: Admin, records: Records, installation: Installation, out: Path
) -> None:
    enrol(records)
    records.insert_inspections(parts(60))
    past = (an_alarm(40, 30, "lower"), an_alarm(600, 500))
    keep_drift(installation, alarm=an_alarm(15), history=past)
    admin("report", "--line", 4, "--since", "1h", "--out", out)
    page = Page(out.read_text())
    drawn = [bar for bar in page.named("rect") if bar.get("class") == "alarm" and "x" in bar]
    plot = 920 - 72 - 10
    assert [round(float(str(bar["width"])) / plot * 60) for bar in drawn] == [10, 15]
    assert [round((float(str(bar["x"])) - 72) / plot * 60) for bar in drawn] == [20, 45]
    assert "alarm: scores lower" in page.text
    assert "good parts score higher than at their calibration (found after 87 parts). It stands" in page.text
    assert page.text.count("Somebody began the watch anew") == 1


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ({}, "The drift watch raised no alarm."),
        ({"alarm": None, "samples": 0}, "The drift watch does not run: its bank is not calibrated"),
        (None, ""),
    ],
)
def test_a_line_without_an_alarm_says_whether_anybody_watched(
    admin: Admin,
    records: Records,
    installation: Installation,
    out: Path,
    kept: dict[str, object] | None,
    said: str,
) -> None:
    records.insert_inspections(parts(30))
    if kept is not None:
        keep_drift(installation, **kept)
    assert admin("report", "--line", 4, "--out", out).code == 0
    text = Page(out.read_text()).text
    assert said in text
    assert said or "drift watch" not in text.lower()


def test_everything_is_in_the_file_and_nothing_in_it_can_fetch_or_run(
    admin: Admin, records: Records, installation: Installation, out: Path
) -> None:
    write_picture(installation.state, "heatmaps/4/a.png")
    records.insert_inspections(parts(40))
    records.insert_inspections(
        [replace(a_verdict("pic", at=now() - timedelta(minutes=1)), score=9.0, heatmap="heatmaps/4/a.png")]
    )
    admin("report", "--line", 4, "--out", out)
    page = Page(out.read_text())
    assert not {"script", "link", "iframe", "object", "embed"} & {tag for tag, _ in page.tags}
    assert [
        each for each in page.named("img") if not (each["src"] or "").startswith("data:image/jpeg;base64,")
    ] == []
    assert page.named("img")
    assert any(
        "default-src 'none'" in (each.get("content") or "")
        for each in page.named("meta")
        if each.get("http-equiv") == "Content-Security-Policy"
    )
    assert [each for tag, attributes in page.tags for each in attributes if each.startswith("on")] == []


def test_what_came_over_the_wire_is_text_on_the_page_and_nothing_else(
    admin: Admin, records: Records, installation: Installation, out: Path
) -> None:
    enrol(records, why=HOSTILE, who=HOSTILE)
    write_picture(installation.state, "heatmaps/4/a.png")
    at = now() - timedelta(minutes=1)
    hostile = replace(a_verdict(HOSTILE, at=at), part=HOSTILE, camera=HOSTILE, heatmap="heatmaps/4/a.png")
    records.insert_inspections([hostile, replace(an_uninspected("lost"), reason=HOSTILE, decided_at=at)])
    admin("report", "--line", 4, "--out", out)
    page = Page(out.read_text())
    assert "script" not in {tag for tag, _ in page.tags}
    assert all("onerror" not in attributes for _, attributes in page.tags)
    assert page.text.count("<script>alert(1)</script>") >= 4
    assert "{{ 7*7 }}" in page.text
    assert any(HOSTILE in (each["alt"] or "") for each in page.named("img"))


def test_every_picture_has_words_and_every_chart_a_table(
    admin: Admin, records: Records, installation: Installation, out: Path
) -> None:
    write_picture(installation.state, "heatmaps/4/a.png")
    enrol(records)
    records.insert_inspections([replace(part, heatmap="heatmaps/4/a.png") for part in parts(60)])
    admin("report", "--line", 4, "--out", out)
    page = Page(out.read_text())
    assert all(each.get("alt") for each in page.named("img"))
    charts = [each for each in page.named("svg") if each.get("role") == "img"]
    assert all(each.get("aria-label") for each in charts)
    assert len(page.named("details")) == len(charts) == 6
    assert [each.get("lang") for each in page.named("html")] == ["en"]


def test_a_part_is_shown_with_its_camera_picture_its_heatmap_and_what_a_person_said(
    admin: Admin, records: Records, installation: Installation, out: Path
) -> None:
    for relative in ("heatmaps/4/a.png", "frames/4/a.png"):
        write_picture(installation.state, relative)
    at = now() - timedelta(minutes=1)
    records.insert_inspections(
        [replace(a_verdict("one", at=at), heatmap="heatmaps/4/a.png", frame="frames/4/a.png")]
    )
    said = Feedback(
        key="one", line=4, product="nuts", label=Label.GOOD, note=None, who="kim", at=at, frame_path=None,
        frame_sha256="f" * 64,
    )  # fmt: skip
    feedback.add(records.database, said)
    admin("report", "--line", 4, "--out", out)
    page = Page(out.read_text())
    assert [each["alt"] for each in page.named("img")] == [
        "Camera picture of part A1",
        "Heatmap of part A1: reject, score 4.25",
    ]
    assert "a person said: good" in page.text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"heatmap": "heatmaps/4/gone.png"}, "its file is gone"),
        ({"heatmap": "../../outside.png"}, "leads out of the state folder"),
        ({"heatmap": "records.db"}, "cannot be read"),
        ({"heatmap": None, "no_heatmap": "late"}, "no time left to draw it"),
        ({"heatmap": None, "no_heatmap": "not_kept"}, "are not kept"),
    ],
)
def test_a_picture_that_is_not_there_is_said_with_its_reason(
    admin: Admin, records: Records, out: Path, changes: dict[str, str | None], said: str
) -> None:
    records.insert_inspections([replace(a_verdict("one", at=now() - timedelta(minutes=1)), **changes)])
    assert admin("report", "--line", 4, "--out", out).code == 0
    page = Page(out.read_text())
    assert "No heatmap" in page.text
    assert said in page.text
    assert "No camera picture" in page.text


def test_pictures_stop_at_their_limit_and_the_page_says_so(
    admin: Admin, records: Records, installation: Installation, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "MAX_TOTAL_BYTES", 2000)
    write_picture(installation.state, "heatmaps/4/a.png", width=400)
    records.insert_inspections([replace(part, heatmap="heatmaps/4/a.png") for part in parts(60)])
    admin("report", "--line", 4, "--out", out)
    page = Page(out.read_text())
    assert len(page.named("img")) == 1
    assert "limited to" in page.text


def test_an_empty_window_says_so_and_when_the_last_verdict_was(admin: Admin, records: Records, out: Path) -> None:
    enrol(records)
    records.insert_inspections([a_verdict("old")])
    answer = admin("report", "--line", 4, "--since", "1h", "--out", out)
    assert answer.code == 0
    assert "No verdict of line 4" in answer.err
    page = Page(out.read_text())
    assert "No part was decided on this line in this window." in page.text
    assert "2026-03-01" in page.text


def test_a_line_without_any_verdict_or_bank_says_both(admin: Admin, records: Records, out: Path) -> None:
    assert admin("report", "--line", 5, "--out", out).code == 0
    page = Page(out.read_text())
    assert "and none before it" in page.text
    assert "never enrolled" in page.text


def test_parts_that_were_all_lost_make_a_page_without_scores(admin: Admin, records: Records, out: Path) -> None:
    lost = [replace(an_uninspected(f"k{i}"), decided_at=now() - timedelta(minutes=i + 1)) for i in range(5)]
    records.insert_inspections(lost)
    assert admin("report", "--line", 4, "--out", out).code == 0
    page = Page(out.read_text())
    assert "scores-title" not in {each.get("aria-labelledby") for each in page.named("figure")}
    assert "Worst parts" not in page.text


def test_one_part_alone_makes_a_page(admin: Admin, records: Records, out: Path) -> None:
    records.insert_inspections([a_verdict("one", at=now() - timedelta(seconds=1))])
    assert admin("report", "--line", 4, "--since", "2s", "--out", out).code == 0


def test_a_past_window_is_named_by_its_times(admin: Admin, records: Records, out: Path) -> None:
    records.insert_inspections([a_verdict("old")])
    window = ("--since", "2026-03-01T11:00+00:00", "--until", "2026-03-01T13:00+00:00")
    assert admin("report", "--line", 4, *window, "--out", out, "--json").json["parts"] == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--line", 77), 1, "configured lines: 4, 5"),
        (("--line", 4, "--since", "yesterday"), 2, "2026-11-22T06:00"),
        (("--line", 4, "--since", "1h", "--until", "2h"), 2, "--since before --until"),
        (("--line", 4, "--since", "99999999w"), 2, "a duration like"),
        (("--line", 4, "--out", "/no/such/folder/x.html"), 1, "there is no folder /no/such/folder"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_in_words(
    admin: Admin, records: Records, arguments: tuple[object, ...], code: int, said: str
) -> None:
    answer = admin("report", *arguments)
    assert answer.code == code
    assert said in " ".join(answer.err.split())


def test_a_folder_in_the_files_place_is_no_traceback_and_leaves_nothing_behind(
    admin: Admin, records: Records, tmp_path: Path
) -> None:
    folder = tmp_path / "taken"
    folder.mkdir()
    answer = admin("report", "--line", 4, "--out", folder)
    assert answer.code == 69
    assert "cannot write" in answer.err
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".tmp-")]


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_real_browser_shows_every_figure_and_complains_of_nothing(
    admin: Admin, records: Records, installation: Installation, out: Path, tmp_path: Path
) -> None:
    enrol(records, why=HOSTILE)
    write_picture(installation.state, "heatmaps/4/a.png")
    records.insert_inspections([replace(part, heatmap="heatmaps/4/a.png") for part in parts(120)])
    admin("report", "--line", 4, "--since", "4h", "--out", out)
    screenshot = tmp_path / "page.png"
    dom = browse(out, "--dump-dom", f"--screenshot={screenshot}", profile=tmp_path / "profile")
    page = Page(dom)
    assert len([each for each in page.named("svg") if each.get("role") == "img"]) == 6
    assert len(page.named("img")) == 18
    assert "script" not in {tag for tag, _ in page.tags}
    picture = cv2.imread(str(screenshot))
    assert picture.shape[1] == 1000
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50


def browse(page: Path, *options: str, profile: Path) -> str:
    """What Chromium makes of the page; asserts that its console stayed empty."""
    assert CHROMIUM is not None
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
        "--enable-logging=stderr", "--window-size=1000,2400", f"--user-data-dir={profile}", *options,
        page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    assert "CONSOLE" not in done.stderr, done.stderr
    return done.stdout
