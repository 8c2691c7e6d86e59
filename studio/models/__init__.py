"""Base models: which are on offer, where one comes from, what shape it has, and how it reads text.

Nothing here imports torch: the window asks these modules too.
"""
