"""Alembic's scripts: a package, so that a wheel carries them beside `daemon`, where daemon.database looks."""
