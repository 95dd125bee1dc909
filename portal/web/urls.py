"""Addresses of the common parts."""

from django.urls import path

from portal.web import views

app_name = "web"
urlpatterns = [
    path("preferences/", views.preferences, name="preferences"),
    path("csp-reports/", views.csp_report, name="csp_report"),
]
