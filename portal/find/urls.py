"""Address of the search."""

from django.urls import path

from portal.find import views

app_name = "find"
urlpatterns = [path("", views.find_anything, name="find")]
