"""The throw-away users of /compare/: its acts use only their sign-ins, so no alarm concerns an ordinary user."""

from django.utils import timezone

from accounts import demo
from accounts.models import User
from accounts.sessions import SignedInRequest

# In the session of an ordinary user: the id of the throw-away user that acts for them.
SESSION_KEY = "compare_user"


def user_of(request: SignedInRequest) -> User | None:
    """Returns the signed-in user if it is a throw-away user, or else that of the session. At most two statements."""
    if request.user.is_throw_away:
        return request.user
    pk = request.session.get(SESSION_KEY)
    return User.objects.filter(pk=pk, delete_after__gt=timezone.now()).first() if pk else None


def make_for(request: SignedInRequest) -> User:
    """Returns a new throw-away user, and stores its id in the session. Raises TooManyAttempts."""
    user, _password = demo.make_throw_away()
    request.session[SESSION_KEY] = user.pk
    return user
