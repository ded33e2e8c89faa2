"""`iterreason serve`: vLLM servers for the two roles, from a TOML file; started, watched, restarted and ended."""
