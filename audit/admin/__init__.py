"""Pages of what happened: calls, sessions and runs, changes, holds."""

from audit.admin import calls, changes, holds

__all__ = ["calls", "changes", "holds"]
