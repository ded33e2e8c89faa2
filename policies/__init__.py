"""Reasoning policies: one TOML file each; this folder holds data, not code."""
