"""Pages: one HTML file each, which asks no server for anything; a content-security policy forbids it to.

A template (`….html` beside this file) has __TITLE__, __STYLE__ (page.css: colours, controls), __DATA__ (JSON that its
script finds as `data`) and __SCRIPT__ (page.js). Whatever a title or the data hold stays text.
"""

from __future__ import annotations

import html
import json
import re
from importlib.resources import files
from typing import Any


def page(template: str, data: Any, *, title: str) -> str:
    """A page as text that can be written as UTF-8."""
    parts = {
        "TITLE": html.escape(title),
        "STYLE": _read("page.css"),
        "DATA": safe_json(data),
        "SCRIPT": _read("page.js"),
    }
    whole = re.sub(r"__(TITLE|STYLE|DATA|SCRIPT)__", lambda found: parts[found[1]], _read(template))
    return whole.encode("utf-8", "replace").decode("utf-8")  # a file's name need not be Unicode


def safe_json(data: Any) -> str:
    """JSON that may stand inside a <script> element, whatever its strings hold."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _read(name: str) -> str:
    return files("otonoha.plots").joinpath(name).read_text("utf-8").rstrip("\n")
