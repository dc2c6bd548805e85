"""Where downloaded corpora live: OTONOHA_DATA if set, and the user's data folder."""

from __future__ import annotations

import os
from pathlib import Path


def data_dirs() -> list[Path]:
    """Folders to look in, in this order."""
    own = os.environ.get("OTONOHA_DATA")
    base = os.environ.get("XDG_DATA_HOME")
    user = (Path(base) if base else Path.home() / ".local" / "share") / "otonoha"
    return [Path(own).expanduser(), user] if own else [user]


def find_home(folder: str) -> Path | None:
    """The folder of a corpus, or None where it has not been downloaded."""
    return next((d / folder for d in data_dirs() if (d / folder).is_dir()), None)


def need_home(folder: str, name: str) -> Path:
    """The folder of a corpus. Raises ValueError naming the command that downloads it."""
    home = find_home(folder)
    if home is None:
        places = " or ".join(str(d) for d in data_dirs())
        raise ValueError(
            f"{name} is not here yet: run `otonoha data get {name}` (looked for {folder} in {places})"
        )
    return home


def no_download(name: str, folder: str) -> str:
    """Why a corpus that is not here cannot be fetched."""
    return (
        f"{name} is no download: most of it was converted for this project, so its bytes have no public address "
        f"(it would be the folder {folder!r} of OTONOHA_DATA). otonoha data get librosa-data and unknown-horizons "
        f"fetch what is in it as it was"
    )


def target_dir() -> Path:
    """Where a download goes: the first of `data_dirs` that can be written. ValueError where none can."""
    for folder in data_dirs():
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    raise ValueError(f"no folder to download to: cannot write {' or '.join(str(d) for d in data_dirs())}")
