"""Adapters on disk: a shelf to browse, model cards, zips to take home, whole models to merge.

Only the `export` job needs torch; the window uses everything else directly.
"""
