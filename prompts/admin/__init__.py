"""Pages of prompts: the list, a prompt with what is live, the editor, differences, reviews; rules of channels."""

from prompts.admin import channels, experiments, lists, webhooks

__all__ = ["channels", "experiments", "lists", "webhooks"]
