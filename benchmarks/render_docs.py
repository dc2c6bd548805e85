"""Put the tables of benchmarks/results into the pages that show them; nothing is typed by hand.

    python benchmarks/render_docs.py            # writes
    python benchmarks/render_docs.py --check    # exit 1 if a page is out of date

A page says where: a line `<!-- table: lstm -->`, and `<!-- end -->` after the table.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from _table import RESULTS, markdown, read_table

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", ROOT / "README.ja.md", *sorted((ROOT / "docs").rglob("*.md")))
MARK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def rendered(text: str) -> str:
    """The page with every table as it is now."""

    def table(match: re.Match[str]) -> str:
        name = match[2]
        body = markdown(read_table(name)) if (RESULTS / f"{name}.json").exists() else "*not measured yet*"
        return f"{match[1]}{body}\n{match[3]}"

    return MARK.sub(table, text)


def main(check: bool) -> int:
    """The exit status."""
    stale = [p for p in PAGES if p.exists() and rendered(p.read_text("utf-8")) != p.read_text("utf-8")]
    for page in stale:
        print(f"{'out of date' if check else 'written'}: {page.relative_to(ROOT)}")
        if not check:
            page.write_text(rendered(page.read_text("utf-8")), "utf-8")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
