"""Colours (RGB) of pictures that break the scorer which sitecustomize.py has sabotaged."""

BREAKS = (255, 0, 0)
NOT_FINITE = (0, 255, 0)
LOSES_THE_DEVICE = (0, 0, 255)
HANGS = (255, 255, 0)
NEEDS_MUCH_MEMORY = (0, 255, 255)
SLOW = (128, 128, 128)
