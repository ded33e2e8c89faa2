"""Stopping that keeps a promise: rules tested on recorded episodes, and confidence turned into a probability.

`rule` and `file` are all that an episode needs; `paths`, `testing` and `probability` learn them and need the extra `bench`.
"""
