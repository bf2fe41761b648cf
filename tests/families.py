"""The subspaces of the registry by what they are made of."""

from frugal_theory.config.registry import SUBSPACES

BASIS_SUBSPACES = tuple(name for name, kind in SUBSPACES.items() if kind.basis)
UNIT_SUBSPACES = tuple(name for name, kind in SUBSPACES.items() if not kind.basis)
