"""Addresses of the price book. A model's name may hold anything, so it is a parameter and no part of a path."""

from django.urls import path

from portal.spend import views

app_name = "spend"
urlpatterns = [
    path("", views.prices, name="prices"),
    path("history/", views.history, name="history"),
    path("new/", views.new_price, name="new_price"),
    path("import/", views.import_published, name="import"),
]
