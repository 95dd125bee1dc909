"""Addresses of the limits."""

from django.urls import path

from portal.limits import views

app_name = "limits"
urlpatterns = [
    path("", views.limit_list, name="list"),
    path("export/", views.export, name="export"),
    path("new/", views.new, name="new"),
    path("raise/", views.ask_raise, name="ask_raise"),
    path("preview/", views.preview, name="preview"),
    path("<int:pk>/", views.change, name="change"),
    path("<int:pk>/remove/", views.remove, name="remove"),
]
