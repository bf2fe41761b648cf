"""For your own work: checks of a problem, a noise, a rule and a theorem against their contracts, false theorems, strategies.

    from frugal_theory.testing import check_problem
    check_problem(MyProblem())        # raises ContractError, naming what is wrong

The toolkit's own are held against the same checks by its tests.
"""

from frugal_theory.testing.contract import ContractError
from frugal_theory.testing.false_theorem import Changed, scaled
from frugal_theory.testing.noise import check_noise
from frugal_theory.testing.parabola import measured_and_bound
from frugal_theory.testing.problem import check_problem
from frugal_theory.testing.rule import check_rule
from frugal_theory.testing.strategies import algorithms, experiments, quadratics
from frugal_theory.testing.theorem import check_theorem

__all__ = [
    "Changed",
    "ContractError",
    "algorithms",
    "check_noise",
    "check_problem",
    "check_rule",
    "check_theorem",
    "experiments",
    "measured_and_bound",
    "quadratics",
    "scaled",
]
