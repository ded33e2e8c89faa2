"""Measurements: of the engine itself, and of policies on benchmark tasks."""
