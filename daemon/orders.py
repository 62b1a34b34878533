"""What the worker is told while it runs: from the settings in force and the state of the disk."""

from __future__ import annotations

from daemon.live_settings import worker_orders
from daemon.reload import Reloader
from daemon.settings import Settings
from daemon.storage import DiskState, narrowed
from daemon.storekeeper import Storekeeper
from daemon.worker_port import ZmqWorkerPort


class Orders:
    """What the worker is told, from the settings and how the disk is. Belongs to the loop's thread."""

    def __init__(self, workers: ZmqWorkerPort, keeper: Storekeeper, reloader: Reloader) -> None:
        self._workers = workers
        self._keeper = keeper
        self._reloader = reloader
        self._told = DiskState.OK

    def tend(self) -> None:
        """For every turn of the loop."""
        self._reloader.tend()
        if self._keeper.state is not self._told:
            self.give(self._reloader.settings)

    def give(self, settings: Settings) -> None:
        """Have everyone go by these settings, as far as the disk allows."""
        self._told, self._keeper.settings = self._keeper.state, settings
        self._workers.order(narrowed(worker_orders(settings), self._told))
