"""Settings from YAML files, for trainings and preparations: every fault named before any work."""
