"""Classes of unequal size: losses, weights and orders of visiting."""

from medvit.learn.longtail.losses import build_loss
from medvit.learn.longtail.orders import ClassOrder as BalancedOrder

__all__ = ["BalancedOrder", "build_loss"]
