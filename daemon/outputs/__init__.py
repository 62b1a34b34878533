"""Verdicts for other systems, from the outbox, at least once: MQTT and webhooks (docs/notes/0017-outputs.md)."""
