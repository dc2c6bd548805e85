"""Train, measure and pack the MuseGANs that come with the package: `choir` and `accompanist`.

    python benchmarks/ship_musegan.py choir          # four voices from four noises; one core: about 20 minutes
    python benchmarks/ship_musegan.py accompanist    # alto, tenor and bass to a given soprano; about 20 minutes

Data: bach-chorales in 4/4. Goes on where it stopped when it is called again. The validation pieces choose the
weights; DEFAULTS were chosen by hand on them (docs/lab-log.md). The test pieces are measured once, at the end, with
temperature 1.
"""

from __future__ import annotations

import sys
from pathlib import Path

from otonoha.data.corpus import corpus
from otonoha.models.musegan.model import MuseGAN
from otonoha.models.pretrained import SHIPPED, load

RECIPES = {"choir": {}, "accompanist": {"given": "soprano", "hidden": 128}}
SUMMARY = {
    "choir": "Writes for four voices from four noises: chords, style, melody, groove (MuseGAN, preset `lines`).",
    "accompanist": "Writes alto, tenor and bass to a given soprano (MuseGAN, preset `lines`, given soprano).",
}
DEFAULTS = {
    "choir": {"bars": 8, "temperature": 0.85, "independence": 0.5, "tempo": 84.0},
    "accompanist": {"temperature": 0.8, "independence": 0.5},
}


def main(name: str) -> None:
    """Train `name` in runs/`name`, then write it to the package."""
    data, run = corpus("bach-chorales"), Path("runs") / name
    resume = any((run / "state").glob("step-*")) if run.exists() else False
    model = load(run) if resume else MuseGAN("lines", **RECIPES[name])
    outcome = model.fit(data.train, data.valid, out=run, resume=resume)
    model.card |= {
        "name": name,
        "summary": SUMMARY[name],
        "data": "bach-chorales in 4/4, train split (public-domain music, encodings distributed with music21 "
        "by permission)",
        "licence": "Apache-2.0 for the weights; the music it learnt from is in the public domain",
        "corpora": "bach-chorales",
        "command": f"python benchmarks/ship_musegan.py {name}",
        "steps": outcome.step,
        "seed": model.config.train.seed,
        "measured": "distance (loss) and metrics of phrases written with temperature 1",
        "metrics": {
            f"{split} {key}": value
            for split in ("test", "valid")
            for key, value in model.evaluate(model.prepare(getattr(data, split))).items()
            if key != "says"
        },
    }
    model.defaults = DEFAULTS[name]
    model.save(run)
    folder = model.save(SHIPPED / name, half=True)
    print(folder, f"{sum(p.stat().st_size for p in folder.iterdir()) / 1e6:.2f} MB")


if __name__ == "__main__":
    main(sys.argv[1])
