"""The latency-throughput curve: what its numbers mean, and a picture that any viewer can read."""

from __future__ import annotations

import math
from xml.etree import ElementTree

from benchmarks.curve_picture import HEIGHT, WIDTH, Point, curve_svg
from benchmarks.paced import Paced

SVG = "{http://www.w3.org/2000/svg}"


def point(load: float, p99_ms: float = 80.0) -> Point:
    return Point(load=load, offered_hz=28 * load, p50_ms=40.0, p99_ms=p99_ms, in_time=1.0)


def test_a_part_without_a_verdict_is_lost_whether_it_was_uninspected_unanswered_or_never_sent():
    run = Paced(triggered=5, answers=((0.04, "accept"), (0.06, "reject"), (0.5, "uninspected")), passed_by=1)
    assert run.lost == 3
    assert run.percentile_ms(50) == 50.0
    assert math.isnan(Paced(triggered=1, answers=(), passed_by=1).percentile_ms(99))


def test_the_picture_is_well_formed_and_everything_lies_within_it():
    picture = ElementTree.fromstring(curve_svg([point(0.1), point(1.1, 5_000)], deadline_ms=500, machine="here"))
    places = [(float(dot.get("cx", "nan")), float(dot.get("cy", "nan"))) for dot in picture.iter(f"{SVG}circle")]
    assert len(places) == 6
    assert all(0 < across < WIDTH and 0 < down < HEIGHT for across, down in places)
    said = {text.text for text in picture.iter(f"{SVG}text")}
    assert {"deadline 500 ms", "p50", "p99", "10%", "110%", "here"} <= said


def test_a_longer_latency_stands_higher():
    picture = ElementTree.fromstring(
        curve_svg([point(0.1, 60), point(0.5, 90), point(0.9, 400)], deadline_ms=500, machine="")
    )
    p99 = [float(dot.get("cy", "nan")) for dot in picture.iter(f"{SVG}circle")][:3]
    assert p99 == sorted(p99, reverse=True)
