"""Recordings on their way to windows: read block by block, channels chosen, filtered, cut."""
