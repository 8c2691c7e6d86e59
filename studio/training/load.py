from studio.models.load import load_base  # noqa: F401  (moves: import it from studio.models.load)
