"""The pages' common parts as an application, so that Django finds the template tags."""

from django.apps import AppConfig


class WebConfig(AppConfig):
    """No models: helpers for HTTP, htmx, tables and charts."""

    name = "portal.web"
    label = "web"
