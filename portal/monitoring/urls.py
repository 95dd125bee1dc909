"""Addresses of the monitoring page."""

from django.urls import path

from portal.monitoring import months_views, views

app_name = "monitoring"
urlpatterns = [
    path("", views.index, name="index"),
    path("usage/export/", views.export, name="export"),
    path("months/", months_views.month_list, name="months"),
    path("months/<int:year>/<int:number>/", months_views.month, name="month"),
    path("months/<int:year>/<int:number>/changes/", months_views.month_changes, name="month_changes"),
    path("months/<int:year>/<int:number>/export/", months_views.export_month, name="export_month"),
]
