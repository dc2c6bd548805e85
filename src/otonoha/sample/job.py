"""A long request in a folder: it saves as it goes, and goes on after an interruption to the same result."""

from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

QUICK = 4096
"""Up to so many positions every saving is quick; longer requests are saved once a second at most."""


class Job:
    """Remembers the drawn positions of a request. Without a folder it remembers nothing.

    request.json says what was asked; tokens.npz holds the positions (T, B, K) drawn so far. A folder of
    another request is refused.
    """

    def __init__(
        self, folder: Path | None = None, request: dict[str, Any] | None = None, every: int = 64
    ) -> None:
        self.folder, self.every = folder, every
        self.replay: np.ndarray | None = None
        self.positions: list[np.ndarray] = []
        """Those since `blocks` grew."""
        self.blocks: list[np.ndarray] = []
        self.count, self.flushed = 0, 0.0
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._claim(folder / "request.json", json.loads(json.dumps(request)))
            self.replay = self._read(folder / "tokens.npz")

    @staticmethod
    def _claim(path: Path, request: dict[str, Any]) -> None:
        if not path.exists():
            beside = path.with_name("request.json.tmp")
            beside.write_text(json.dumps(request, indent=1), "utf-8")
            beside.replace(path)
            return
        try:
            there = json.loads(path.read_text("utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is damaged; remove the folder to start again") from error
        if not isinstance(there, dict):
            raise ValueError(f"{path} is damaged; remove the folder to start again")
        if there != request:
            different = sorted(k for k in there.keys() | request.keys() if there.get(k) != request.get(k))
            raise ValueError(
                f"{path.parent} holds another request (different: {', '.join(different)}); "
                "choose another folder"
            )

    @staticmethod
    def _read(path: Path) -> np.ndarray | None:
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
                return data["drawn"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None  # nothing saved yet, or cut short: written anew

    def keep(self, drawn: np.ndarray) -> None:
        """Remember one position (B, K); goes to disk now and then."""
        if self.folder is None:
            return
        self.positions.append(drawn)
        self.count += 1
        if self.count % self.every == 0 and (self.count < QUICK or time.monotonic() - self.flushed > 1):
            self.flush()

    def flush(self) -> None:
        """Write what there is, in one move; never less than what is there already."""
        saved = 0 if self.replay is None else len(self.replay)
        if self.folder is None or self.count <= saved:
            return
        if self.positions:
            self.blocks.append(np.stack(self.positions).astype(np.int32))
            self.positions = []
        beside = self.folder / "tokens.tmp.npz"
        try:
            np.savez(beside, drawn=np.concatenate(self.blocks))
            beside.replace(self.folder / "tokens.npz")
            self.flushed = time.monotonic()
        except OSError as error:
            raise OSError(
                f"could not save the job in {self.folder}: {error}; what it held is intact"
            ) from error
