"""What went wrong in a run, in plain words, with changes of the recipe that mend it.

evidence.py  what is known of a run: its recipe, its failure, its recorded curves
curves.py    measures of a curve that the rules compare
rules.py     the rules as data: condition, sentence, remedy

Imports no torch; independent of the page.
"""

from studio.diagnosis.evidence import Evidence, Finding, Remedy
from studio.diagnosis.rules import RULES, diagnose

__all__ = ["RULES", "Evidence", "Finding", "Remedy", "diagnose"]
