"""Tests as an adopter writes them: Django's test client over HTTP, and that of Django REST framework."""

from django.contrib.auth import get_user_model
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client, RequestFactory, TestCase, override_settings
from rest_framework.test import APIClient, APIRequestFactory, APITestCase, force_authenticate

from accounts.models import SecurityEvent, SignIn, User
from tests.sample_app import api, jobs, views
from tests.sample_app.models import Note

PASSWORD = "violet anchor hums at dawn"
MEMORY = {"default": {"BACKEND": "django.core.files.storage.InMemoryStorage"}}
STATIC = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}


def file(size):
    return SimpleUploadedFile("notes.txt", b"x" * size, "text/plain")


@override_settings(STORAGES=MEMORY | STATIC)
class PageTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.ann = User.objects.create_user("ann", "ann@example.org", PASSWORD)

    def test_a_visitor_is_sent_to_the_sign_in_page(self):
        self.assertRedirects(self.client.get("/notes/"), "/accounts/login/?next=/notes/")

    def test_login_signs_in(self):
        self.assertTrue(self.client.login(username="ann", password=PASSWORD))
        self.assertEqual(self.client.get("/notes/").status_code, 200)

    def test_force_login_signs_in_until_logout(self):
        self.client.force_login(self.ann)
        self.assertContains(self.client.get("/notes/"), "Add note")
        self.client.logout()
        self.assertEqual(self.client.get("/notes/").status_code, 302)
        self.assertFalse(SignIn.objects.filter(user=self.ann).live().exists())

    def test_the_sign_in_page_signs_in(self):
        answer = self.client.post("/accounts/login/?next=/notes/", {"username": "ann", "password": PASSWORD})
        self.assertRedirects(answer, "/notes/")

    def test_a_form_with_a_file_is_stored(self):
        self.client.force_login(self.ann)
        answer = self.client.post("/notes/", {"slug": "milk", "text": "Buy milk", "attachment": file(3_000_000)})
        self.assertRedirects(answer, "/notes/")
        self.assertEqual(Note.objects.get().attachment.size, 3_000_000)

    def test_files_are_limited_by_view(self):
        self.client.force_login(self.ann)
        for path, size, status in [
            ("/forms/small/", 2_000_000, 200),
            ("/forms/small/", 3_000_000, 413),
            ("/forms/large/", 5_000_000, 200),
            ("/forms/large/", 6_000_001, 413),
        ]:
            with self.subTest(path=path, size=size):
                answer = self.client.post(path, {"file": file(size)})
                self.assertEqual(answer.status_code, status)
                if status == 200:
                    self.assertEqual(answer.content.decode(), str(size))

    def test_the_admin_accepts_files_by_model(self):
        staff = User.objects.create_superuser("sue", "sue@example.org", PASSWORD)
        self.client.force_login(staff)
        data = {"owner": staff.pk, "slug": "x", "text": "Call Bob", "attachment": file(3_000_000)}
        self.assertEqual(self.client.post("/admin/sample_app/note/add/", data).status_code, 302)
        self.assertEqual(Note.objects.get().attachment.size, 3_000_000)

    def test_htmx_changes_and_deletes_with_a_csrf_token(self):
        Note.objects.create(owner=self.ann, slug="milk", text="Buy milk")
        page = Client(enforce_csrf_checks=True)
        page.force_login(self.ann)
        self.assertEqual(page.delete("/notes/milk/").status_code, 403)
        token = {"X-CSRFToken": str(page.get("/notes/").context["csrf_token"]), "HX-Request": "true"}
        form = "application/x-www-form-urlencoded"
        for method in (page.put, page.patch):
            answer = method("/notes/milk/", f"text=By+{method.__name__}", form, headers=token)
            self.assertEqual((answer.status_code, answer.content.decode()), (200, f"By {method.__name__}"))
        self.assertEqual(page.delete("/notes/milk/", headers=token).status_code, 200)
        self.assertFalse(Note.objects.exists())

    def test_a_missing_user_is_the_views_own_404(self):
        self.client.force_login(self.ann)
        self.assertEqual(self.client.get("/archive/2026/").status_code, 404)
        self.assertEqual(self.client.get("/notes/").status_code, 200)

    def test_a_view_works_with_a_request_factory(self):
        request = RequestFactory().get("/forms/small/")
        request.user = self.ann
        self.assertEqual(views.small_form(request).status_code, 200)


class ApiTests(APITestCase):
    @classmethod
    def setUpTestData(cls):
        cls.ann = get_user_model().objects.create_user("ann", "ann@example.org", PASSWORD)

    def test_force_authenticate_reaches_own_and_project_endpoints(self):
        self.client.force_authenticate(self.ann)
        self.assertEqual(self.client.post("/api/notes/", {"slug": "milk", "text": "Buy milk"}).status_code, 201)
        self.assertEqual(self.client.put("/api/notes/milk/", {"slug": "milk", "text": "Buy oat"}).status_code, 200)
        self.assertEqual(self.client.get("/api/notes/milk.json").json()["text"], "Buy oat")
        self.assertEqual(self.client.get("/api/me/").json()["username"], "ann")

    def test_a_view_works_with_force_authenticate_of_a_request(self):
        request = APIRequestFactory().get("/api/who/")
        force_authenticate(request, user=self.ann)
        self.assertEqual(api.WhoAmI.as_view()(request).data["username"], "ann")

    def test_request_auth_is_none_with_the_session_only(self):
        self.client.force_login(self.ann)
        self.assertEqual(self.client.get("/api/who/").json(), {"username": "ann", "by": "session"})
        access = APIClient().post("/api/token/", {"username": "ann", "password": PASSWORD}).json()["access"]
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {access}")
        self.assertEqual(client.get("/api/who.json").json(), {"username": "ann", "by": "token"})

    def test_the_session_can_write(self):
        self.client.force_login(self.ann)
        self.assertEqual(self.client.post("/api/notes/", {"slug": "milk", "text": "Buy milk"}).status_code, 201)

    def test_files_are_limited_by_endpoint(self):
        self.client.force_authenticate(self.ann)
        for path, size, status in [
            ("/api/files/small/", 2_000_000, 200),
            ("/api/files/small/", 3_000_000, 413),
            ("/api/files/", 5_000_000, 200),
            ("/api/files/", 6_000_001, 413),
        ]:
            with self.subTest(path=path, size=size):
                answer = self.client.post(path, {"file": file(size)}, format="multipart")
                self.assertEqual(answer.status_code, status)
                self.assertIn("size" if status == 200 else "too_large", answer.content.decode())

    def test_a_file_can_be_the_whole_body(self):
        self.client.force_authenticate(self.ann)
        headers = {"Content-Disposition": "attachment; filename=notes.txt"}
        answer = self.client.generic("POST", "/api/files/notes.txt/", b"x" * 3_000_000, "text/plain", headers=headers)
        self.assertEqual(answer.json(), {"size": 3_000_000})


class JobTests(TestCase):
    @override_settings(SITE_URL="https://notes.example.org")
    def test_a_job_acts_for_a_user(self):
        ann = User.objects.create_user("ann", "ann@example.org", PASSWORD)
        self.assertEqual(jobs.import_notes.call(ann.pk, ["Buy milk"]), "https://notes.example.org/notes/")
        event = SecurityEvent.objects.get(type=SecurityEvent.Type.USER_EDITED)
        self.assertEqual((event.actor, event.user), (ann, ann))
