"""The evaluation itself: class by class, every picture read and encoded once, all trials judging what was seen.

Memory is bounded whatever the set's size. It holds one batch of pictures, three numbers a picture and trial, and
for the trials that judge together their references and 40 MB each for the pixels that wait to go to disk (160 MiB
more while one trial's figures are made). The rest of the maps lies in the work folder until a class is finished.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from pathlib import Path

import numpy as np

from core.bank_building import Progress
from core.datasets import Dataset, ObjectClass, draw_references, read_image, read_mask
from core.errors import DatasetError
from core.evaluation.judges import Judge
from core.evaluation.options import Trial
from core.evaluation.panel import BATCH, Panel
from core.evaluation.pictures import grid_picture
from core.evaluation.rows import MeanRow, Row, mean_rows
from core.evaluation.tally import Tally
from core.evaluation.work_folder import Kept, WorkFolder, work_folder
from core.inspection import Floats

FORMAT = 1
"""Of what a finished class depends on: count it up when rows would come out differently."""
SHARE_OF_DISK = 0.8
"""Of the free disk that maps may take."""
BYTES_A_PIXEL = 3
"""On disk, for each trial: 2.1 for a good pixel and 8.3 for a defective one (core.metrics), of which few are."""
TRIALS_AT_ONCE = 32
"""Trials that judge together by default."""

Remark = Callable[[str], None]


@dataclass(slots=True)
class Seconds:
    """Where the time of this run went; nothing for classes that were finished before.

    reading: pictures and masks. scoring: encoding, matching, maps. metrics: collecting maps and making figures.
    references: fitting and enrolling.
    """

    reading: float = 0.0
    scoring: float = 0.0
    metrics: float = 0.0
    references: float = 0.0

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Add what happens within to a part."""
        start = time.perf_counter()
        try:
            yield
        finally:
            setattr(self, part, getattr(self, part) + time.perf_counter() - start)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """digests: SHA-256 of each class's files. pictures: each class's grid as a PNG file, where wanted."""

    rows: tuple[Row, ...]
    mean: tuple[MeanRow, ...]
    digests: dict[str, str]
    pictures: dict[str, bytes]
    seconds: Seconds


def evaluate(
    panel: Panel,
    dataset: Dataset,
    *,
    work: Path,
    resume: bool = False,
    pictures: bool = False,
    trials_at_once: int = TRIALS_AT_ONCE,
    progress: Progress | None = None,
    remark: Remark | None = None,
) -> Evaluation:
    """Run the panel's trials over a data set.

    work: a folder for maps and finished classes. resume: take over classes that an earlier run with the same
    encoder, data and options has finished. pictures: draw a grid a class. trials_at_once: most that judge
    together, which bounds memory; more take another pass over the pictures, as they do where the disk is short.
    remark: takes sentences for a person.

    Raises DatasetError for a class with too few references, a picture that cannot be read (finished classes stay
    in the work folder) or a disk without room for one trial; EnrolmentError for references that are the same;
    MetricsError for a map that is not finite.
    """
    run = _Run(
        panel=panel,
        pictures=pictures,
        trials_at_once=trials_at_once,
        tell=progress or _silent,
        remark=remark or _say_nothing,
    )
    for sentence in panel.options.undefined():
        run.remark(sentence)
    with work_folder(work) as folder:
        run.check(dataset, folder)
        digests = run.digests(dataset)
        rows = [
            row for each in dataset.classes for row in run.class_rows(each, digests[each.name], folder, resume)
        ]
        grids = {each.name: folder.picture(each.name).read_bytes() for each in dataset.classes if pictures}
    return Evaluation(
        rows=tuple(rows), mean=tuple(mean_rows(rows)), digests=digests, pictures=grids, seconds=run.seconds
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """A trial over a class. scores: (N,) of the last score mode, in the order of the test pictures."""

    trial: Trial
    rows: tuple[Row, ...]
    scores: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Run:
    """What stays the same from class to class, and the clock."""

    panel: Panel
    pictures: bool
    trials_at_once: int
    tell: Progress
    remark: Remark
    seconds: Seconds = field(default_factory=Seconds)

    def check(self, dataset: Dataset, folder: WorkFolder) -> None:
        """Everything that could end the run and can be known before it. Raises DatasetError."""
        for each in dataset.classes:
            draw_references(each, max(self.panel.options.shots), seed=0)
            self._groups(each, folder)

    def digests(self, dataset: Dataset) -> dict[str, str]:
        """Of each class by itself, so that one can be taken over where another has changed."""
        found = {}
        for each in dataset.classes:
            found[each.name] = replace(dataset, classes=(each,)).digest()
            self.tell("digesting the data", len(found), len(dataset.classes))
        return found

    def class_rows(self, each: ObjectClass, digest: str, folder: WorkFolder, resume: bool) -> Sequence[Row]:
        """The rows of a class, taken over or made and kept."""
        key = self._key(each, digest)
        kept = folder.kept(each.name) if resume else None
        reason = self._against(kept, key, folder.picture(each.name)) if kept is not None else None
        if kept is not None and reason is None:
            self.remark(f"{each.name}: finished before, taken over")
            return kept.rows
        if reason is not None:
            self.remark(f"{each.name}: finished before {reason}, evaluated again")
        outcomes = self._outcomes(each, folder)
        rows = tuple(row for outcome in outcomes for row in outcome.rows)
        folder.keep(each.name, Kept(key=key, rows=rows), self._grid(each, outcomes) if self.pictures else None)
        return rows

    def _against(self, kept: Kept, key: str, picture: Path) -> str | None:
        """Why a finished class cannot be taken over, None where it can."""
        if kept.key != key:
            return "with another encoder, data or options"
        return "without its picture grid" if self.pictures and not picture.exists() else None

    def _outcomes(self, each: ObjectClass, folder: WorkFolder) -> list[Outcome]:
        groups = self._groups(each, folder)
        if len(groups) > 1:
            self.remark(
                f"{each.name}: {len(groups)} passes over the pictures for {sum(map(len, groups))} trials; "
                f"{folder.root} has {folder.free_bytes / 1e9:.1f} GB free for maps"
            )
        return [outcome for group in groups for outcome in self._pass(each, group, folder)]

    def _pass(self, each: ObjectClass, trials: Sequence[Trial], folder: WorkFolder) -> list[Outcome]:
        """Read and encode every picture once; each of the trials judges it."""
        with ExitStack() as opened:
            tallies = []
            for number, (trial, judge) in enumerate(self._judges(each, trials)):
                tallies.append(Tally(trial, judge, folder.spool(str(number))))
                opened.callback(tallies[-1].close)
            for start in range(0, len(each.test), BATCH):
                self._batch(each, range(start, min(start + BATCH, len(each.test))), tallies)
                self.tell(f"scoring {each.name}", min(start + BATCH, len(each.test)), len(each.test))
            labels = np.array([item.anomalous for item in each.test])
            with self.seconds.of("metrics"):
                return [
                    Outcome(
                        trial=tally.trial,
                        rows=tuple(tally.rows(each.name, labels)),
                        scores=tally.image_scores(tally.trial.score_modes[-1]),
                    )
                    for tally in tallies
                ]

    def _batch(self, each: ObjectClass, places: Sequence[int], tallies: Sequence[Tally]) -> None:
        items = [each.test[place] for place in places]
        with self.seconds.of("reading"):
            images = [read_image(item.image) for item in items]
            masks = [read_mask(item, self.panel.encoder.image_size) for item in items]
        with self.seconds.of("scoring"):
            seen = self.panel.look(images)
        for tally in tallies:
            with self.seconds.of("scoring"):
                judged = tally.judge.judge(seen)
            with self.seconds.of("metrics"):
                tally.add(judged, masks, [str(item.image) for item in items])

    def _judges(self, each: ObjectClass, trials: Sequence[Trial]) -> Iterator[tuple[Trial, Judge]]:
        """Each trial with its judge; those of one draw share the references, which are then let go."""
        done = 0
        for (shots, seed), same in groupby(trials, key=lambda trial: (trial.shots, trial.seed)):
            references = self.panel.references(each, shots=shots, seed=seed)
            for trial in same:
                with self.seconds.of("references"):
                    judge = self.panel.judge(trial, each, references)
                done += 1
                self.tell(f"preparing {each.name}", done, len(trials))
                yield trial, judge

    def _groups(self, each: ObjectClass, folder: WorkFolder) -> list[tuple[Trial, ...]]:
        """The trials in as many passes as the disk has room for. Raises DatasetError where it has for none."""
        trials = self.panel.options.trials()
        one = len(each.test) * self.panel.encoder.image_size**2 * BYTES_A_PIXEL
        room = int(folder.free_bytes * SHARE_OF_DISK / one)
        if room == 0:
            raise DatasetError(
                f"{folder.root} has {folder.free_bytes / 1e9:.1f} GB free; the maps of class {each.name} take "
                f"{one / 1e9:.1f} GB and a fifth must stay free: give a work folder on a larger disk"
            )
        most = min(room, self.trials_at_once)
        return [trials[start : start + most] for start in range(0, len(trials), most)]

    def _grid(self, each: ObjectClass, outcomes: Sequence[Outcome]) -> bytes:
        """The class's picture grid: each method at its most references, the first draw, the last score mode."""
        best: dict[str, Outcome] = {}
        for outcome in outcomes:
            trial, shown = outcome.trial, best.get(outcome.trial.method)
            if trial.seed == 0 and (shown is None or trial.shots >= shown.trial.shots):
                best[trial.method] = outcome
        judges = list(self._judges(each, [outcome.trial for outcome in best.values()]))
        scores = [outcome.scores for outcome in best.values()]
        return grid_picture(each, self.panel, judges, scores)

    def _key(self, each: ObjectClass, digest: str) -> str:
        """Names everything that a class's rows depend on."""
        encoder, adapter = self.panel.encoder, self.panel.adapter
        layers = {method: scorer.adapter_sha256 for method, scorer in self.panel.scorers.items()}
        depends = {
            "format": FORMAT,
            "class": each.name,
            "data": digest,
            "encoder": [encoder.id, encoder.device, encoder.precision],
            "spec": repr(encoder.spec),
            "layers": [layers, None if adapter is None else adapter.sha256],
            "options": asdict(self.panel.options),
        }
        return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()


def _silent(what: str, done: int, total: int) -> None:
    """No progress wanted."""


def _say_nothing(sentence: str) -> None:
    """No remarks wanted."""
