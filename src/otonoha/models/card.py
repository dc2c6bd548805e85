"""The model card: what a checkpoint is, what it learnt from, under which terms, and how good it is."""

from __future__ import annotations

from typing import Any


def render(model: Any) -> str:
    """README.md of a model folder, from `model.card` and what the model knows of itself."""
    told = dict(model.card)
    lines = [
        f"# {told.pop('name', model.family)}",
        "",
        told.pop("summary", f"A `{model.family}` model of the otonoha toolkit."),
        "",
        "| | |",
        "|---|---|",
        f"| family | `{model.family}` |",
        f"| parameters | {model.parameters:,} |",
        f"| codec | `{model.codec.fingerprint}` |",
    ]
    metrics = told.pop("metrics", {})
    lines += [f"| {key} | {_cell(value)} |" for key, value in told.items()]
    if metrics:
        lines += ["", "## Measured", "", "| figure | value |", "|---|---|"]
        lines += [f"| {key} | {_cell(value)} |" for key, value in metrics.items()]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value).replace("|", "\\|").replace("\n", " ")
