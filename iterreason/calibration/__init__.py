"""Stopping that keeps a promise: rules tested on recorded episodes, and confidence turned into a probability.

An episode needs `rule` and `file` alone; `paths`, `testing` and `probability` learn them, with the extra `bench`.
"""
