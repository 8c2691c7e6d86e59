"""Delta Studio: teach an open model from your own data, without code."""

__version__ = "0.1.0"
