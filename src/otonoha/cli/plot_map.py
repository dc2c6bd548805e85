"""`otonoha plot map`: the artists and genres that a model has learnt, as a picture or (--out ….html) as a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from otonoha.cli.flags import Values
from otonoha.cli.output import Output
from otonoha.music.suggest import one_of

PAGE = ".html"
METHODS = ("tsne", "pca")


def write(values: Values, path: Path) -> None:
    """Work out the map and write it."""
    from otonoha.plots import canvas

    charts, output = _charts(values), Output()
    title = f"{Path(values.file).name}: the names it has learnt"
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == PAGE:
        from otonoha.io.guard import store_bytes
        from otonoha.plots.map_page import map_page

        store_bytes(path, map_page(charts, title=title).encode("utf-8"))
    else:
        from otonoha.plots.label_map import label_map

        canvas.save(label_map(charts, title=title), path)
    for one in charts:
        for method, said in one.said.items():
            output.say(f"{one.what}, {method}: {said}")


def _charts(values: Values) -> list[Any]:
    """A chart of each kind of names that is asked for; one with too few is refused, or left out where all are asked."""
    from otonoha.models.jukebox.label_vectors import label_vectors
    from otonoha.models.pretrained import load
    from otonoha.plots.label_map import chart
    from otonoha.plots.tsne import FEWEST

    named = label_vectors(load(values.file), values.level)
    wanted = [one_of(values.names, named, "kind of names")] if values.names else list(named)
    most = _most(values.most)
    few = {what: len(named[what].names) for what in wanted if len(named[what].names) < FEWEST}
    if len(few) == len(wanted):
        said = " and ".join(f"{number} {what}" for what, number in few.items())
        raise ValueError(
            f"{values.file} knows {said} (the unknown one counts); a map needs at least {FEWEST}"
        )
    methods = _methods(values)
    output = Output()
    return [
        chart(
            what,
            named[what].names[:most],
            named[what].vectors[:most],
            methods=methods,
            perplexity=values.perplexity,
            told=lambda done, total: output.progress(done, total, "arranging"),
        )
        for what in wanted
        if what not in few
    ]


def _methods(values: Values) -> Sequence[str]:
    if values.method == "pca" and values.perplexity is not None:
        raise ValueError("--perplexity has no effect with --method pca")
    return METHODS if values.method is None else (values.method,)


def _most(most: int | None) -> int | None:
    from otonoha.plots.tsne import FEWEST

    if most is not None and most < FEWEST:
        raise ValueError(f"--most must be at least {FEWEST}, got {most}")
    return most
