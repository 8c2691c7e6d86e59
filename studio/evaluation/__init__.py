"""Evaluation of a run: scores of answers, confidence intervals, and storage of the answers.

    scores.py        scores of single answers; accuracy, macro F1 and confusion matrix of many
    intervals.py     95 % confidence intervals
    predictions.py   answers of base and fine-tuned model to the validation rows, stored in the run's folder

No torch here: the page reads what the worker wrote.
"""
