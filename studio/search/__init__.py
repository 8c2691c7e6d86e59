"""Hyperparameter search: which options are searched and where (`space`), what a search is (`plan`), the engine that
proposes values and decides which tries are stopped early (`study`, on Optuna), the step that drives it (`driver`), and
what the page and the terminal show of it (`overview`). Tries are ordinary runs. The window imports neither Optuna nor
torch.
"""
