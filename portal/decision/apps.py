from django.apps import AppConfig


class DecisionConfig(AppConfig):
    default_auto_field = "django.db.models.BigAutoField"
    name = "portal.decision"
    label = "decision"
