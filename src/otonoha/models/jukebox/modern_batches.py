"""What a prior of the design `modern` learns from beside what every prior does: the notes of its songs. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from otonoha.models.jukebox.batches_songs import Song
from otonoha.models.jukebox.modern_score import notes_in
from otonoha.music.piece import Piece


def scored(songs: Sequence[Song], pieces: Sequence[Piece]) -> list[Song]:
    """Songs with the notes of the pieces that they are of, where these are known."""
    known = {piece.id: piece for piece in pieces}
    return [_scored(song, known.get(song.id)) for song in songs]


def _scored(song: Song, piece: Piece | None) -> Song:
    notes = None if piece is None else notes_in(piece)
    if notes is None:
        return song
    notes[:, :2] += song.label.offset / song.rate
    return replace(song, label=replace(song.label, notes=notes))
