"""`ra-guard stats`: the experiment's arithmetic by hand. Boundaries of planned looks, sample size, sample ratio."""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Literal, TypeVar

import cyclopts
from rich.table import Table

from ra_guard.cli.terminal import result_console
from ra_guard.errors import ConfigError
from ra_guard.stats import power as sizes
from ra_guard.stats.outcome import Insufficient, Sides
from ra_guard.stats.sequential import Family
from ra_guard.stats.sequential import bounds as boundaries
from ra_guard.stats.srm import ALPHA, sample_ratio

app = cyclopts.App(name="stats", help="Boundaries of planned looks, sample size and power, sample ratio.")

Number = TypeVar("Number", int, float)
Json = Annotated[bool, cyclopts.Parameter(name="--json", negative="", help="One JSON document on stdout.")]


@app.command(name="bounds")
def print_bounds(
    *,
    family: Literal["obf", "pocock", "hsd", "power"],
    information: str,
    alpha: float = 0.05,
    sides: Literal[1, 2] = 2,
    gamma: float | None = None,
    spending_time: str | None = None,
    as_json: Json = False,
) -> None:
    """Boundaries of z at planned looks, by the information collected.

    Parameters
    ----------
    family
        How alpha is spent: obf (O'Brien-Fleming type), pocock, hsd (Hwang-Shih-DeCani), power.
    information
        Of each look, as fractions of the plan, ascending: 0.3,0.7,1.
    alpha
        The error probability, both sides together.
    sides
        1 or 2.
    gamma
        Of hsd (-4 by default) or power (2 by default).
    spending_time
        Of each look, where it differs from its information.
    as_json
        One JSON document on stdout.
    """
    found = boundaries(
        _listed("--information", information, float),
        family=Family(family),
        alpha=alpha,
        sides=Sides(sides),
        gamma=gamma,
        spending_time=None if spending_time is None else _listed("--spending-time", spending_time, float),
    )
    if as_json:
        print(json.dumps(asdict(found) | {"nominal_p": found.nominal_p}))
        return
    table = Table("look", "information", "z", "nominal p", "alpha spent", title_justify="left")
    rows = zip(found.information, found.z, found.nominal_p, found.spent, strict=True)
    for look, (share, z, p, spent) in enumerate(rows, start=1):
        table.add_row(str(look), f"{share:.4g}", f"{z:.4f}", f"{p:.3g}", f"{spent:.3g}")
    result_console().print(table)


@app.command(name="power")
def print_power(
    *,
    deviation: float,
    effect: float | None = None,
    users: int | None = None,
    power: float = 0.8,
    alpha: float = 0.05,
    sides: Literal[1, 2] = 2,
    as_json: Json = False,
) -> None:
    """Users an arm for an effect, the effect for users an arm, or the power of both; one look, equal arms.

    Parameters
    ----------
    deviation
        Standard deviation of users, in the metric's unit.
    effect
        The difference to show, in the metric's unit.
    users
        In each arm.
    power
        The probability of showing the effect, where it is not what is asked for.
    alpha
        The error probability, both sides together.
    sides
        1 or 2.
    as_json
        One JSON document on stdout.
    """
    test = {"deviation": deviation, "alpha": alpha, "sides": Sides(sides)}
    if effect is not None and users is not None:
        power = sizes.power_of(effect, users, users, deviation=deviation, alpha=alpha, sides=Sides(sides))
    elif effect is not None:
        users = sizes.sample_size(effect, deviation=deviation, power=power, alpha=alpha, sides=Sides(sides))
    elif users is not None:
        effect = sizes.minimum_detectable_effect(
            users, users, deviation=deviation, power=power, alpha=alpha, sides=Sides(sides)
        )
    else:
        raise ConfigError("found neither --effect nor --users, wanted one or both; say what is known")
    values = {"users_per_arm": users, "effect": effect, "power": power} | test
    if as_json:
        print(json.dumps(values))
        return
    table = Table("users an arm", "effect", "power", "deviation", "alpha", "sides")
    table.add_row(f"{users:,}", f"{effect:.4g}", f"{power:.4g}", f"{deviation:.4g}", f"{alpha:.4g}", str(sides))
    result_console().print(table)


@app.command(name="srm")
def print_sample_ratio(*, counts: str, shares: str | None = None, alpha: float = ALPHA, as_json: Json = False) -> None:
    """Whether users arrived in their shares: as drawn, mismatch, or insufficient where too few came to say.

    Parameters
    ----------
    counts
        Users by arm: 20912,20838.
    shares
        By arm, equal by default: 0.5,0.5.
    alpha
        A p-value below it is a mismatch.
    as_json
        One JSON document on stdout.
    """
    users = _listed("--counts", counts, int)
    wanted = [1 / len(users)] * len(users) if shares is None else _listed("--shares", shares, float)
    found = sample_ratio(users, wanted, alpha=alpha)
    if isinstance(found, Insufficient):
        as_text = f"insufficient: found {found.found}, wanted {found.wanted}"
        print(json.dumps({"verdict": "insufficient"} | asdict(found)) if as_json else as_text)
        return
    verdict = "mismatch" if found.mismatch else "as drawn"
    if as_json:
        # Infinity is no JSON: users in an arm without a share have no statistic, only the p-value 0.
        finite = found.chi_square if found.chi_square != float("inf") else None
        print(json.dumps({"verdict": verdict} | asdict(found) | {"chi_square": finite}))
        return
    table = Table("arm", "users", "expected")
    for arm, (seen, expected) in enumerate(zip(users, found.expected, strict=True), start=1):
        table.add_row(str(arm), f"{seen:,}", f"{expected:,.1f}")
    console = result_console()
    console.print(table)
    console.print(f"{verdict}: p = {found.p_value:.4g}, alpha = {alpha:g}")


def _listed(option: str, text: str, number: Callable[[str], Number]) -> list[Number]:
    try:
        return [number(each) for each in text.split(",")]
    except ValueError:
        kind = "whole numbers" if number is int else "numbers"
        raise ConfigError(f"found {option} {text!r}, wanted {kind} with commas between; such as 1,2,3") from None
