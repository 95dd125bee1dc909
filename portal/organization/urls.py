"""Addresses of the organization's settings."""

from django.urls import path

from portal.organization import views

app_name = "organization"
urlpatterns = [
    path("", views.settings, name="settings"),
    path("resets/", views.resets, name="resets"),
    path("limits/", views.limits, name="limits"),
    path("limits/preview/", views.limits_preview, name="limits_preview"),
]
