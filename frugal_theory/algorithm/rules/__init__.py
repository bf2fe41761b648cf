"""The rules, one file each: its table in the experiment file, its formula, the names of its state."""

from frugal_theory.algorithm.rules.adagrad import Adagrad
from frugal_theory.algorithm.rules.adamw import AdamW
from frugal_theory.algorithm.rules.lion import Lion
from frugal_theory.algorithm.rules.nothing import Nothing
from frugal_theory.algorithm.rules.rule import Rule, RuleState, RuleTable, Seen, StateFree, namespace, rule_of
from frugal_theory.algorithm.rules.sgd import Sgd
from frugal_theory.algorithm.rules.sgdm import Sgdm
from frugal_theory.algorithm.rules.signsgd import SignSgd

__all__ = [
    "Adagrad",
    "AdamW",
    "Lion",
    "Nothing",
    "Rule",
    "RuleState",
    "RuleTable",
    "Seen",
    "Sgd",
    "Sgdm",
    "SignSgd",
    "StateFree",
    "namespace",
    "rule_of",
]
