"""How far two readers agree beyond chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def cohen_kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Return Cohen's kappa (1960, Educational and Psychological Measurement 20:37, eq. 1).

    (p_o - p_e) / (1 - p_e), with p_o the share of equal answers and p_e the share that two
    readers would have in common who answer at random, each as often as they did.

    Args:
        pairs: The answers of both readers to the same questions, two for each question.

    Returns:
        1 for full agreement, 0 for chance, below 0 for less than chance; None without a
        question, or when both gave one and the same answer throughout: chance alone would
        agree then.

    Examples:
        >>> round(cohen_kappa([("a", "a")] * 20 + [("a", "b")] * 5
        ...     + [("b", "a")] * 10 + [("b", "b")] * 15), 12)
        0.4
    """
    if not pairs:
        return None
    n = len(pairs)
    equal = sum(one == other for one, other in pairs)
    first, second = Counter(one for one, _ in pairs), Counter(other for _, other in pairs)
    by_chance = sum(first[answer] * second[answer] for answer in first)  # times n squared
    if by_chance == n * n:
        return None
    return (equal * n - by_chance) / (n * n - by_chance)
