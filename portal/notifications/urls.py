"""Addresses of alerts, and of Settings → Notifications."""

from django.urls import path

from portal.notifications.views import alerts, deliveries, settings

app_name = "notifications"
_SETTINGS = "settings/notifications"
urlpatterns = [
    path("alerts/", alerts.alert_list, name="alerts"),
    path("alerts/seen/", alerts.seen, name="seen"),
    path("alerts/limits/<int:pk>/", alerts.limit, name="limit"),
    path(f"{_SETTINGS}/", settings.settings, name="settings"),
    path(f"{_SETTINGS}/webhooks/add/", settings.add, name="add_webhook"),
    path(f"{_SETTINGS}/webhooks/<int:pk>/", settings.change, name="change_webhook"),
    path(f"{_SETTINGS}/webhooks/<int:pk>/test/", settings.test, name="test_webhook"),
    path(f"{_SETTINGS}/webhooks/<int:pk>/secret/", settings.rotate, name="rotate_webhook"),
    path(f"{_SETTINGS}/webhooks/<int:pk>/remove/", settings.remove, name="remove_webhook"),
    path(f"{_SETTINGS}/people/add/", settings.add_person, name="add_recipient"),
    path(f"{_SETTINGS}/people/<int:pk>/remove/", settings.remove_person, name="remove_recipient"),
    path(f"{_SETTINGS}/deliveries/", deliveries.delivery_list, name="deliveries"),
    path(f"{_SETTINGS}/deliveries/<int:pk>/", deliveries.delivery, name="delivery"),
    path(f"{_SETTINGS}/deliveries/<int:pk>/retry/", deliveries.retry, name="retry_delivery"),
]
