"""Alembic's scripts: a package, so that a wheel carries them beside `daemon` (daemon.database finds them there)."""
