"""The exchange of a refresh token of the site before for tokens of this one."""

from datetime import UTC, datetime
from uuid import UUID

from django.utils.translation import gettext_lazy as _
from rest_framework_simplejwt.exceptions import TokenError

from accounts.factors.errors import StepNotValid
from accounts.factors.second_step import Step
from accounts.models import DPoPRequired, SecondStepRequired, SignIn, SignInRefused, User
from accounts.moving_in import continuing
from api import dpop
from api.tokens import legacy

# The member of Step.extra with the id of the token that has begun the step.
EXTRA = "old_token"


def exchange(token: legacy.LegacyToken, key_thumbprint: str) -> SignIn:
    """
    Returns the client's sign-in that a token of before gives once, on all nodes; within the grace period a retry gets
    the same one. Raises TokenError, ProofRefused, and OwnerNeedsSecondStep: the token is then used up with the second
    step.
    """
    owner = legacy.owner_of(token)
    if owner is None or owner.user is None:
        raise _refusal()
    try:
        return continuing.continue_client(owner, token.credential, token.expires_at, key_thumbprint=key_thumbprint)
    except continuing.OldCredentialRefused as error:
        sign_in = continuing.retried(token.credential)
        if sign_in is None or sign_in.user_id != owner.user_id or sign_in.key_thumbprint != key_thumbprint:
            raise _refusal() from error
        return sign_in
    except SecondStepRequired as error:
        raise OwnerNeedsSecondStep(owner.user, token) from error
    except DPoPRequired as error:
        raise dpop.ProofRefused(_("A DPoP proof is needed.")) from error
    except SignInRefused as error:
        raise _refusal() from error


class OwnerNeedsSecondStep(Exception):
    """The account has a second factor, which a token of before does not prove. `extra` is that of the step to begin."""

    def __init__(self, user: User, token: legacy.LegacyToken) -> None:
        super().__init__()
        user.is_continuing = True
        self.user = user
        self.extra = {EXTRA: [token.credential.hex, int(token.expires_at.timestamp())]}


def has_begun(step: Step) -> bool:
    """Returns whether a token of before has begun the step."""
    return EXTRA in step.extra


def use_up_token_of(step: Step, user: User) -> None:
    """
    Uses up the token of before that has begun the step. Call it in the transaction that starts the sign-in. Raises
    StepNotValid if it was used meanwhile.
    """
    credential, until = step.extra[EXTRA]
    try:
        continuing.use_up_after_second_step(user, UUID(credential), datetime.fromtimestamp(until, UTC))
    except continuing.OldCredentialRefused as error:
        raise StepNotValid from error


def _refusal() -> TokenError:
    return TokenError(_("Token is blacklisted"))
