"""Trainings told from top to bottom; ``configs`` holds the shipped configurations.

``accelerate launch -m modeling_mteeg.recipes.joint``, or ``accelerate launch recipes/joint.py`` at
the top of a clone.
"""
