"""How a report writes numbers, so that they read alike everywhere."""

from __future__ import annotations

from medvit.report.markup import Html, tag

BAR_PX = 64
NONE = "\N{EN DASH}"
"""Written where there is no value."""


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    Examples:
        >>> counted(1, "case"), counted(1204, "case")
        ('1 case', '1,204 cases')
    """
    return f"{number:,} {noun if number == 1 else noun + 's'}"


def duration(seconds: float) -> str:
    """Return a time as a person would say it.

    Examples:
        >>> duration(3.26), duration(200), duration(7384)
        ('3.3 s', '3 min 20 s', '2 h 3 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def memory(megabytes: float | None) -> str:
    """Return an amount of memory.

    Examples:
        >>> memory(812.3), memory(1536.0), memory(None)
        ('812 MB', '1.50 GB', 'not measured')
    """
    if megabytes is None:
        return "not measured"
    return f"{megabytes:.0f} MB" if megabytes < 1000 else f"{megabytes / 1024:.2f} GB"


def probability_bar(probability: float | None) -> Html:
    """Return a probability as a figure with a bar, or a dash for none."""
    if probability is None:
        return tag("span", NONE, class_="none")
    width = round(min(max(probability, 0.0), 1.0) * BAR_PX, 1)
    full = tag("rect", width=BAR_PX, height=6, rx=3, class_="bar-rest")
    part = tag("rect", width=width, height=6, rx=3, class_="bar-part")
    bar = tag("svg", full, part, width=BAR_PX, height=6, aria_hidden="true", class_="bar")
    return tag(
        "span", tag("span", f"{probability:.3f}", class_="figure"), bar, class_="probability"
    )


def pill(verdict: str) -> Html:
    """Return a verdict in its colour."""
    names = {"accept": "accepted", "repair": "repaired", "refuse": "refused", "fail": "failed"}
    return tag("span", names.get(verdict, verdict), class_=f"pill pill-{verdict}")
