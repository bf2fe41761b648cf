"""Every tolerance of the test suite, named, with the reason for its size."""

ROUNDING = 1e-12
"""Elementwise paths that do the same arithmetic in another order: a few hundred roundings of 1e-16, relative."""

FACTORISATION = 1e-9
"""Paths through svd or qr, whose backward error is a modest multiple of 1e-16 times the condition of the step."""

COMPLEX_STEP = 1e-12
"""A derivative by a complex step of 1e-30 has no truncation and no cancellation: a few hundred roundings, relative."""

STANDARD_ERRORS = 5.0
"""How many standard errors a sample moment may be off: one in two million for a correct law, and the seeds are fixed."""

LEAST_P_VALUE = 1e-4
"""A test of a whole distribution fails below this: one in ten thousand for a correct law, and the seeds are fixed."""

ACCUMULATION_FLOAT32 = 2e-5
"""Sums of some ten thousand float32 terms in another order: three times √10⁴ roundings of 6e-8, relative."""

FLOAT32 = 1e-5
"""A short run in float32 against the same run in float64: some dozens of roundings of 6e-8, relative."""

BFLOAT16 = 0.1
"""A short run in bfloat16 against float64: some dozens of roundings of 4e-3 that mostly cancel, relative."""

ENUMERATION = 1e-12
"""An exact recursion against the sum over every set and every noise: a few thousand roundings of 1e-16, relative."""

LONG_RECURSION = 1e-11
"""One exact recursion against another over hundreds of steps, or against its limit: their roundings add up, relative."""

SOLVERS_AGREE = 1e-3
"""A semidefinite program against a known value: the agreement that is asked of two solvers, relative."""

PRINTED = 5e-3
"""A number of docs/theory.md that is printed with three significant digits, relative."""

DOUBLE_ROOT = 1e-6
"""A root that is double, or nearly: a rounding of 1e-16 moves it by its square root, and conditioning by ten more."""

ATTAINED = 1e-3
"""A limit against its value at a finite horizon or budget: some hundred steps or evaluations short of it, relative."""

CONSTANT_GRADIENT = 2e-4
"""Progress on a slope of curvature λ against that on a constant gradient: terms of αλ times a run's variance, relative."""

EXCESS_MISSES = 1.1
"""An interval may miss this many times as often as it says, for the laws it is made for (docs/theory/statistics.md)."""

IMPORTANCE_SAMPLING = 0.1
"""A quantile far out in a tail, by importance sampling with tens of thousands of draws, relative."""

SMALL_STEPS = 0.02
"""A limit of small steps, at a fiftieth of the published one: terms of αL, relative."""

LARGE_MATRIX = 0.02
"""A limit of large matrices at 60 rows: terms of 1/60, relative."""

FLOAT16 = 5e-3
"""A short run whose state waits in float16: a few roundings of 5e-4 that are averaged with the rest, relative."""

GOLDEN = 1e-7
"""Losses of a LLaMA in float64 after twenty steps: its norms and rotations are float32 in transformers, relative."""

PREDICTED_ON_AVERAGE = 0.01
"""Bytes of state that are predicted, beside the mean over the draws of a round."""

BFLOAT16_STEP = 2.0**-7
"""The same steps in float32, kept in 16 bits between them: at a tie a rounding of 6e-8 tips one of these, relative."""
