"""Models: one protocol, and the URIs that name them."""
