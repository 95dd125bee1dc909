"""Addresses of the API key pages."""

from django.urls import path

from apikeys.views import changes, detail, listing, rotation

app_name = "apikeys"
urlpatterns = [
    path("", listing.key_list, name="list"),
    path("export/", listing.export, name="export"),
    path("issue/", listing.issue, name="issue"),
    path("revoke/", listing.revoke_many, name="revoke_many"),
    path("<slug:key_id>/", detail.detail, name="detail"),
    path("<slug:key_id>/edit/", changes.edit, name="edit"),
    path("<slug:key_id>/rotate/", rotation.rotate, name="rotate"),
    path("<slug:key_id>/overlap/end/", rotation.end, name="end_overlap"),
    path("<slug:key_id>/suspend/", changes.suspend, name="suspend"),
    path("<slug:key_id>/resume/", changes.resume, name="resume"),
    path("<slug:key_id>/revoke/", changes.revoke, name="revoke"),
    path("<slug:key_id>/limits/", changes.limits, name="limits"),
    path("<slug:key_id>/limits/preview/", changes.preview, name="preview"),
]
