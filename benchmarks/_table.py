"""Tables of results: one JSON file per table, written by a benchmark, rendered into the docs from there.

A file `benchmarks/results/<table>.json` is `{table, command, date, machine, rows: [{name, …metrics}]}`.
`python benchmarks/_table.py render_speed` prints one as Markdown.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
Row = Mapping[str, Any]


def write_table(table: str, rows: Sequence[Row], command: str, *, folder: Path = RESULTS) -> Path:
    """Write the table (whole or not at all) and return its path. Every row has a `name`."""
    if missing := [row for row in rows if "name" not in row]:
        raise ValueError(f"a row of table {table!r} has no name: {missing[0]}")
    content = {
        "table": table,
        "command": command,
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "rows": [dict(row) for row in rows],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{table}.json"
    draft = path.with_suffix(".json.part")
    draft.write_text(
        json.dumps(content, indent=1, ensure_ascii=False, default=_plain) + "\n", encoding="utf-8"
    )
    draft.replace(path)
    return path


def read_table(table: str, *, folder: Path = RESULTS) -> dict[str, Any]:
    """The table as it was written."""
    return json.loads((folder / f"{table}.json").read_text(encoding="utf-8"))


def machine() -> dict[str, Any]:
    """What a reader needs to judge a speed: processor, cores, system, versions. No host or user name."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version for name in ("numpy", "torch") if (version := _version(name))},
    }


def markdown(content: Mapping[str, Any], *, digits: int = 4) -> str:
    """A table as Markdown: one column per metric in the order of first appearance, then its provenance."""
    rows = content["rows"]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    numeric = {key for key in columns if all(isinstance(row.get(key, 0.0), (int, float)) for row in rows)}
    lines = [
        "| " + " | ".join(columns) + " |",
        "|" + "|".join("---:" if key in numeric else "---" for key in columns) + "|",
        *("| " + " | ".join(_cell(row.get(key), digits) for key in columns) + " |" for row in rows),
    ]
    made_on = content["machine"]
    story = f"{content['date']}, {made_on['processor']}, {made_on['cores']} cores, Python {made_on['python']}"
    return "\n".join([*lines, "", f"*`{content['command']}` — {story}*"])


def show(table: str, rows: Sequence[Row], command: str) -> Path:
    """What a benchmark does last: write the table and print it."""
    path = write_table(table, rows, command)
    print(markdown(read_table(table)))
    return path


def _cell(value: Any, digits: int) -> str:
    if value is None:
        return "—"
    if isinstance(value, float):
        return f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:,.0f}"
    return str(value)


def _plain(value: Any) -> Any:
    """NumPy and torch scalars and arrays as plain Python."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Print tables of results as Markdown.")
    parser.add_argument("tables", nargs="*", help="names; all when none is given")
    for name in parser.parse_args().tables or sorted(path.stem for path in RESULTS.glob("*.json")):
        print(f"### {name}\n\n{markdown(read_table(name))}\n")
