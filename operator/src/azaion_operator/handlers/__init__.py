"""What kopf calls. Thin: gather the facts, let the domain decide, execute the plan.

Nothing registers itself at import; each module has a `register(registry)` that the composition root calls.
"""

from azaion_operator.handlers.context import Context, Heartbeat

__all__ = ["Context", "Heartbeat"]
