"""Which parameter gets which options: rules by name, and what holds where none speaks.

Both ways to an optimizer, ``Frugal(model.named_parameters(), …)`` and ``Frugal.from_config(model, algorithm)``, arrange
their parameters here, so the same words are the same algorithm.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from frugal_gpu.optim.groups import OPTIONS, SPLIT
from frugal_gpu.optim.names import canonical, kind_of
from frugal_theory import config
from frugal_theory.config.registry import RULES

__all__ = ["Arrangement", "arrangement_of", "model_groups", "named_kinds"]

TREATMENTS = {"split": True, "state_full": "state_full", "state_free": "state_free"}

Rules = Sequence[tuple[str, Mapping[str, Any]]]


@dataclass
class Arrangement:
    """Ordered rules over the names of parameters, and the defaults for what no rule speaks of.

    ``rules`` are pairs (regular expression, options): the first whose expression is found in a parameter's name gives it its
    options. A parameter whose ``split`` no rule sets is treated as its kind is: weights are split, and of others
    ``norms``, ``embeddings``, ``biases`` and ``output`` say: "state_full", "split", "state_free", or a state-full rule of their
    own. ``split``, if given, is that of all.
    ``unmatched``: "default", or "error" where every trainable parameter must be matched.
    """

    rules: Rules = ()
    split: Any = None
    norms: Any = "state_full"
    biases: Any = "state_full"
    embeddings: Any = "state_full"
    output: Any = "state_full"
    unmatched: str = "default"
    _matched: set[int] = field(default_factory=set)
    _won: set[int] = field(default_factory=set)
    _names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rules = [_checked_rule(i, rule) for i, rule in enumerate(self.rules)]
        for key in ("norms", "biases", "embeddings", "output"):
            treatment = getattr(self, key)
            if not isinstance(treatment, str) or treatment in TREATMENTS:
                continue
            if treatment in RULES:
                setattr(self, key, RULES[treatment].table())
            else:
                raise ValueError(
                    f'Frugal: {key} = {getattr(self, key)!r}: allowed: "state_full", "split", "state_free", a rule'
                )
        if self.unmatched not in ("default", "error"):
            raise ValueError(f'Frugal: unmatched = {self.unmatched!r}: allowed: "default", "error"')

    def groups(self, group: Mapping[str, Any], kinds: Callable[[str, Tensor], str] | None = None) -> list[dict[str, Any]]:
        """A group cut into those of one set of options each: what no rule matches first, and split parameters before others.

        A group without names stays whole, and so does one that says its ``split``, where there is no rule. ``kinds`` tells
        what a parameter is, if more than its name is known. Raises ValueError for rules without names.
        """
        given = {key: value for key, value in group.items() if key not in ("params", "param_names")}
        named = _named(group)
        if named is None:
            if self.rules:
                raise ValueError("Frugal: rules go by the names of parameters: pass model.named_parameters()")
            return [{"split": True if self.split is None else self.split, **group}]
        cut: dict[tuple[int, int, str], dict[str, Any]] = {}
        for name, parameter in named:
            place = self._match(name, parameter)
            own = self.rules[place][1] if place >= 0 else {}
            split = own.get("split", given.get("split", self.split))
            if split is None:
                kind = kind_of(name, parameter.dim()) if kinds is None else kinds(name, parameter)
                own = {**self._treatment(kind), **own}
                split = own["split"]
            if split is not True and split not in SPLIT[1:]:
                raise ValueError(f'Frugal: split = {split!r}: allowed: True, "state_full", "state_free"')
            key = place, SPLIT.index(split), repr(own.get("state_full", ""))
            cut.setdefault(key, {**given, **own, "split": split, "params": []})["params"].append((name, parameter))
        return [cut[key] for key in sorted(cut, key=lambda key: (key[0], key[1], key[2] != repr("")))]

    def check_all_used(self) -> None:
        """Raise ValueError if a rule speaks of nothing of what was arranged, naming it."""
        for i, (pattern, _) in enumerate(self.rules):
            if i in self._matched - self._won:
                raise ValueError(f'Frugal: rules[{i}], pattern "{pattern}": earlier rules match all that it matches')
            if i not in self._matched:
                like = difflib.get_close_matches(pattern.replace("\\", ""), self._names, n=1, cutoff=0.3) or self._names[:1]
                hint = f'; a name is like "{like[0]}"' if like else ""
                raise ValueError(f'Frugal: rules[{i}], pattern "{pattern}", matches no parameter{hint}')

    def _match(self, name: str, parameter: Tensor) -> int:
        """The first rule whose pattern is found in a name; −1 if none is."""
        name = canonical(name)
        self._names.append(name)
        found = [i for i, (pattern, _) in enumerate(self.rules) if re.search(pattern, name)]
        self._matched.update(found)
        self._won.update(found[:1])
        if not found and self.rules and self.unmatched == "error" and parameter.requires_grad:
            raise ValueError(f'Frugal: no rule matches parameter {name}; add one, or leave it to unmatched = "default"')
        return found[0] if found else -1

    def _treatment(self, kind: str) -> dict[str, Any]:
        """The options of a parameter of this kind: its ``split``, and the state-full rule of its own if it has one."""
        if kind == "weight":
            return {"split": True}
        treatment = {"norm": self.norms, "bias": self.biases, "embedding": self.embeddings, "output": self.output}[kind]
        if isinstance(treatment, str):
            return {"split": TREATMENTS[treatment]}
        return {"split": "state_full", "state_full": treatment}


def arrangement_of(algorithm: config.Algorithm) -> Arrangement:
    """The arrangement that an ``[algorithm]`` table asks for."""
    return Arrangement(
        rules=[(group.pattern, group.settings) for group in algorithm.groups],
        norms=algorithm.norms,
        biases=algorithm.biases,
        embeddings=algorithm.embeddings,
        output=algorithm.output,
        unmatched=algorithm.unmatched,
    )


def model_groups(model: nn.Module, algorithm: config.Algorithm | Arrangement) -> list[dict[str, Any]]:
    """The trainable parameters of a model in groups: split, state-full, state-free, and those of rules by name.

    As :meth:`Arrangement.groups`, with what modules tell beside names: the parameters of embeddings, of norms and of
    ``model.get_output_embeddings()`` are known as such whatever their names. All that is split and that no rule speaks of is
    in the first group, in the model's order: blocks and ``set`` count over it. A parameter that several modules share appears
    once; tied to the head it is treated as the head.
    """
    arrangement = arrangement_of(algorithm) if isinstance(algorithm, config.Algorithm) else algorithm
    kinds = {parameter: kind for _, parameter, kind in named_kinds(model)}
    named = [(name, parameter) for name, parameter, _ in named_kinds(model)]
    groups = arrangement.groups({"params": named}, lambda _, parameter: kinds[parameter]) if named else []  # type: ignore[index]
    arrangement.check_all_used()
    trained = [{**group, "params": [(n, p) for n, p in group["params"] if p.requires_grad]} for group in groups]
    return [group for group in trained if group["params"]]


def named_kinds(model: nn.Module) -> Iterator[tuple[str, nn.Parameter, str]]:
    """(name, parameter, kind) of every parameter of a model, shared ones once."""
    heads = getattr(model, "get_output_embeddings", lambda: None)()
    head = None if heads is None else heads.weight
    seen: set[nn.Parameter] = set()
    for path, module in model.named_modules():
        for own, parameter in module.named_parameters(recurse=False):
            if parameter in seen:
                continue
            seen.add(parameter)
            name = f"{path}.{own}" if path else own
            yield name, parameter, "output" if parameter is head else _kind(module, name, parameter)


def _kind(module: nn.Module, name: str, parameter: nn.Parameter) -> str:
    if "Norm" in type(module).__name__:
        return "norm"
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        return "embedding"
    return kind_of(name, parameter.dim())


def _named(group: Mapping[str, Any]) -> list[tuple[str, Tensor]] | None:
    """The (name, parameter) pairs of a group; None if it has no names, or is not a list of parameters at all."""
    params = group["params"]
    if isinstance(params, Tensor) or not isinstance(params, Iterable) or isinstance(params, (set, frozenset)):
        return None
    items = list(params)
    if "param_names" in group and len(group["param_names"]) == len(items):
        return list(zip(group["param_names"], items, strict=True))
    if items and all(isinstance(x, tuple) and len(x) == 2 and isinstance(x[0], str) for x in items):
        return items
    return None


def _checked_rule(i: int, rule: Any) -> tuple[str, dict[str, Any]]:
    try:
        pattern, options = rule
        re.compile(pattern)
        options = dict(options)
    except re.error as error:
        raise ValueError(f'Frugal: rules[{i}] = "{pattern}": not a regular expression ({error})') from None
    except (TypeError, ValueError):
        raise ValueError(f"Frugal: rules[{i}] = {rule!r}: allowed: a pair (regular expression, options)") from None
    for key in options:
        if key not in OPTIONS:
            close = difflib.get_close_matches(str(key), OPTIONS, n=1, cutoff=0.5)
            hint = f'did you mean "{close[0]}"? ' if close else ""
            where = f'rules[{i}], pattern "{pattern}"'
            raise ValueError(f"Frugal: {where}: unknown option {key!r}; {hint}allowed: {', '.join(OPTIONS)}")
    return pattern, options
