"""What all tests share: one thread, no accidental network or cache outside of the tests' own folders."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
