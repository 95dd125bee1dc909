"""Addresses of single calls. A request id may hold anything, so it is a parameter and no part of a path."""

from django.urls import path

from portal.calls import views

app_name = "calls"
urlpatterns = [
    path("", views.find_call, name="find"),
    path("correct/", views.correct, name="correct"),
    path("void/", views.void, name="void"),
]
