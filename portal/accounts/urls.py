"""Addresses of sign-in, people and the search in the directory."""

from django.urls import path

from portal.accounts.views import confirmation, directory, people, person, sign_in

app_name = "accounts"
urlpatterns = [
    path("sign-in/", sign_in.sign_in, name="signin"),
    path("sign-in/microsoft/", sign_in.begin, name="begin"),
    path("sign-in/callback/", sign_in.callback, name="callback"),
    path("sign-out/", sign_in.sign_out, name="signout"),
    path("signed-out/", sign_in.signed_out, name="signed_out"),
    path("signed-out/by-microsoft/", sign_in.front_channel, name="front_channel"),
    path("confirm/", confirmation.confirm, name="confirm"),
    path("confirm/resume/", confirmation.resume, name="resume"),
    path("people/", people.people, name="people"),
    path("people/export/", people.export, name="people_export"),
    path("people/<int:pk>/", person.detail, name="person"),
    path("people/<int:pk>/guest/", people.allow_guest, name="allow_guest"),
    path("people/<int:pk>/sessions/<slug:mark>/end/", person.end_session, name="end_session"),
    path("me/", person.account, name="account"),
    path("me/sessions/<slug:mark>/end/", person.end_own_session, name="end_own_session"),
    path("me/sessions/end-others/", person.end_others, name="end_others"),
    path("people/grant/", people.grant, name="grant"),
    path("people/<int:pk>/revoke/", people.revoke, name="revoke"),
    path("people/<int:pk>/sign-out/", people.end_sessions, name="end_sessions"),
    path("people/<int:pk>/view/", person.view_as, name="view_as"),
    path("me/stop-viewing/", person.stop_viewing, name="stop_viewing"),
    path("people/<int:pk>/link/", people.link, name="link"),
    path("find/people/", directory.find_people, name="find_people"),
    path("find/groups/", directory.find_groups, name="find_groups"),
]
