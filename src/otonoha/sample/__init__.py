"""The one engine: writing tokens, choosing symbols, controls, tasks, jobs."""
