"""Addresses of the synchronization."""

from django.urls import path

from portal.directory import views

app_name = "directory"
urlpatterns = [
    path("sync/", views.sync, name="sync"),
    path("status/", views.status, name="status"),
    path("people/<int:pk>/hand-over/", views.hand_over, name="hand_over"),
]
