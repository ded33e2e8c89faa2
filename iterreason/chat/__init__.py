"""The interactive session: reason about images together with the engine, in a terminal or through a pipe."""
