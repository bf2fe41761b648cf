"""Check certificates of ``frugal-theory certify``: ``python checker.py certificate.json``. It needs SymPy and nothing else.

With a = αL, and f, its gradients and the noise ξ divided by L, the algorithm does to each coordinate

    in the set:  m' = βm + (1−β)(g + ξ),  x' = x − a·m'        off it:  m' = 0,  x' = x − a·s·(g + ξ)

A certificate has V = φ(f(x) − f*) + ψ(f(z) − f*) + Σ_j (a quadratic form in m_j, g_j, h_j) for every step, h being the gradient
at z = x − κm (which may be absent), and multipliers ≥ 0 of what every 1-smooth f obeys at any two points y, v:

    f(y) − f(v) ≥ ½⟨∇f(y) + ∇f(v), y − v⟩ + ¼‖∇f(y) − ∇f(v)‖² − ¼‖y − v‖²,      f(y) − f* ≥ ½‖∇f(y)‖²

For each coordinate and branch of the draw V − V' − g² + nξ² + (terms of mean zero) − Σ multiplier·inequality must be free of
values of f, and a positive semidefinite form in m, g, h, ξ, g', h'. Then E‖g‖² ≤ E V − E V' + Σ nσ², to be summed from
V ≤ C(f(x¹) − f*) on. Of kind "level", V − V' + nξ² and V − g² are such. Exit status 0: all proved; 1: not so."""

import hashlib
import json
import sys
from typing import Any

from sympy import QQ
from sympy.polys.rings import ring

R, m, g, h, xi, G, H = ring("m,g,h,xi,G,H", QQ)
ZERO = R(0)


def exact(text: str) -> Any:
    """A fraction from its text."""
    return QQ(*map(int, text.split("/")))


def need(true: Any, what: str) -> None:
    """Refuse unless true."""
    if not true:
        raise ValueError(what)


def semidefinite(form: Any, where: str) -> None:
    """Refuse unless a quadratic form is ≥ 0 everywhere: symmetric elimination with exact pivots."""
    need(all(sum(powers) == 2 for powers in form.monoms()), f"{where}: not a quadratic form")
    used = [letter for letter in R.gens if form.degree(letter) > 0]
    at = [[form.coeff(u * v) / (1 if u == v else 2) for v in used] for u in used]
    for i, row in enumerate(at):
        need(row[i] > 0 or (row[i] == 0 and not any(row[i:])), f"{where}: the form is not positive semidefinite")
        for j in range(i + 1, len(at) if row[i] else 0):
            share = at[j][i] / row[i]
            at[j] = [value - share * top for value, top in zip(at[j], row, strict=True)]


def quadratic(table: Any, letters: Any) -> Any:
    """Σ c·u·v over the entries "uv": c of a table."""
    return sum((exact(c) * letters[uv[0]] * letters[uv[1]] for uv, c in table.items()), ZERO)


def settled(values: Any, multipliers: Any, where: str) -> Any:
    """That Σ multiplier·inequality takes all values of f away; returns its form, given (point, gradient) of every point."""
    rest, pairs = dict(values), [(*pair.split(">"), exact(text)) for pair, text in multipliers.items()]
    for i, j, amount in pairs:
        need(amount >= 0 and i != j and i in values and j in {*values, "*"}, f"{where}: multiplier of {i}>{j}")
        rest[i] -= amount
        rest[j] = rest.get(j, 0) + amount  # "*": f*, settled when the others are
    need(not any(rest[point] for point in values), f"{where}: values of f are left over")

    def form(at: Any) -> Any:
        total = ZERO
        for i, j, amount in pairs:
            (y, dy), (v, dv) = at[i], at.get(j, (ZERO, ZERO))
            total += amount * (dy**2 / 2 if j == "*" else (dy + dv) * (y - v) / 2 + ((dy - dv) ** 2 - (y - v) ** 2) / 4)
        return total

    return form


def check(c: Any) -> str:
    """Check one certificate. Returns its claim in words; raises ValueError, or KeyError where something is missing."""
    content = json.dumps({key: value for key, value in c.items() if key != "digest"}, sort_keys=True)
    need(c["digest"] == hashlib.sha256(content.encode()).hexdigest(), "the certificate has been altered")
    alpha, L, b, s, C = (exact(c[key]) for key in ("learning_rate", "smoothness", "beta", "off_set_scale", "transient"))
    a, gap, horizon, basis, kappa = alpha * L, c["update_gap"], c["horizon"], c["basis"], exact(c["auxiliary"] or "0")
    shares: list[Any] = [exact(x["share"]) if "share" in x else None for x in c["classes"]]  # None: it has a schedule
    plans = [x.get("schedule", [0]) for x in c["classes"]]
    cycle, hasz, level = gap * max(map(len, plans)), c["auxiliary"] is not None, {"level": 1, "average": 0}[c["kind"]]
    count = horizon or cycle  # of steps, each with a V of its own: a run, or a cycle that goes on for ever
    need(alpha > 0 and L > 0 and 0 <= b < 1 and s >= 0 and gap >= 1 and count >= 1 and not (horizon and level), "configuration")
    fits = (len(plan) * gap == cycle if p is None else 0 <= p <= 1 for plan, p in zip(plans, shares, strict=True))
    need(all(fits) and basis in (None, "fixed", "turning") and len(c["noise"]) == count, "shares, schedules, basis or noise")

    def drawn(k: int, p: Any) -> bool:
        return p is not None and 0 < p < 1 and k % gap == 0

    def labels(k: int, i: int) -> Any:  # what a class may have been in the step before k; of a schedule, what it is in step k
        if shares[i] in (0, 1, None):
            return ["in" if (shares[i] if shares[i] is not None else plans[i][k % cycle // gap]) else "out"]
        return ["out"] if drawn(k, shares[i]) and (basis == "turning" or (horizon and k == 0)) else ["in", "out"]

    def values(state: Any, x: str, z: str) -> Any:  # the coefficients of f at x and at z
        return {x: exact(state["f"])} | ({z: exact(state["fz"])} if hasz else {})

    forms = settled({"x": C - sum(values(c["states"][0], "x", "z").values())}, c["start"], "start")
    for i, p in enumerate(shares):
        V = quadratic(c["states"][0][f"{i}.{'out' if drawn(0, p) else labels(0, i)[0]}"], {"m": ZERO, "g": g, "h": g})
        semidefinite(forms({"x": (ZERO, g)}) - V, f"V ≤ C(f − f*) at the start, class {i}")
    for k in range(count):
        state, table, last, where = c["states"][k], c["steps"][k], horizon == k + 1, f"step {k}"
        following = c["states"][(k + 1) % count]
        then = {} if last else {point: -value for point, value in values(following, "X", "Z").items()}
        forms = settled(values(state, "x", "z") | then, table["multipliers"], where)
        noise = {key: exact(text) for key, text in table["noise"].items()}  # all are equal where only Σσ² is known, in a basis
        known = basis is None or (basis == "turning" and (gap == 1 or c["uncorrelated"] is True))
        need(min(noise.values()) >= 0 and (known or len({*noise.values(), *map(exact, c["noise"][k])}) == 1), f"{where}: noise")
        positive = None if horizon else settled(values(state, "x", "z"), c["positive"][k], f"V ≥ 0, {where}")
        for i, p in enumerate(shares):
            for label in labels(k, i):
                entering = (horizon and k == 0) or (p is None and k % gap == 0 and labels(k - 1, i) == ["out"])
                old = ZERO if entering or label == "out" else m
                before = {"m": old, "g": g, "h": h}
                V, at = quadratic(state[f"{i}.{label}"], before), {"x": (ZERO, g), "z": (-kappa * old, h)}
                semidefinite(V - level * g**2 + positive(at) if positive else ZERO, f"V ≥ 0, {where}, class {i}, {label}")
                for now in ("in", "out") if drawn(k, p) else (label,):
                    new = b * old + (1 - b) * (g + xi) if now == "in" else ZERO
                    move = -a * (new if now == "in" else s * (g + xi))
                    after = labels(k + 1, i)[0] if p is None or (basis == "turning" and drawn(k + 1, p)) else now
                    kept = new if after == "in" else ZERO
                    at |= {"X": (move, G), "Z": (move - kappa * kept, H)}
                    form = V - (1 - level) * g**2 + noise[f"{i}.{now}"] * xi**2 + forms(at)
                    form -= ZERO if last else quadratic(following[f"{i}.{after}"], {"m": kept, "g": G, "h": H})
                    cross = table["cross"][f"{i}.{label}>{now}"].items()
                    form += xi * sum((exact(text) * before[letter] for letter, text in cross), ZERO)  # of mean zero: the noise
                    if drawn(k, p):  # of mean zero: the draw
                        form += (1 - p if now == "in" else -p) * quadratic(table["shift"][f"{i}.{label}"], before)
                    semidefinite(form, f"{where}, class {i}, {label} then {now}")
            n = p * noise[f"{i}.in"] + (1 - p) * noise[f"{i}.out"] if drawn(0, p) else noise[f"{i}.{labels(k, i)[0]}"]
            need(exact(c["noise"][k][i]) >= n, f"{where}: the noise constant claimed for class {i} is too small")
    means = [float(sum(map(exact, column)) / count) for column in zip(*c["noise"], strict=True)]  # those of steps: in the file
    claim = " + ".join([f"{float(C):.8g} LΔ", *(f"{n:.5g} σ²[{i}]" for i, n in enumerate(means))])
    claim = f"E‖∇f‖² ≤ {claim}·(k−1) at step k" if level else f"avg E‖∇f‖² ≤ {claim.replace('LΔ', 'LΔ/K')} up to K"
    runs = f"K = {horizon}" if horizon else "all steps" if count == 1 else f"multiples of {count}, and as in the file for all"
    noise_is = ", if noise coordinates are uncorrelated" if basis == "turning" and c["uncorrelated"] is True else ""
    return f"{claim}   for {runs}, αL = {float(a):.6g}, β = {float(b):.6g}{noise_is}"


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        for certificate in json.load(file)["certificates"] or [{}]:
            try:
                print(f"proved: {check(certificate)}")
            except (ValueError, LookupError, TypeError, AttributeError, ZeroDivisionError) as error:
                sys.exit(f"NOT PROVED: {error!r}")
