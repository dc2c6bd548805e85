"""Music to learn from: named corpora, folders of files, splits by piece. See `otonoha.data.corpus`."""
