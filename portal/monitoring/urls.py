"""Addresses of the monitoring page."""

from django.urls import path

from portal.monitoring import views

app_name = "monitoring"
urlpatterns = [
    path("", views.index, name="index"),
    path("usage/export/", views.export, name="export"),
]
