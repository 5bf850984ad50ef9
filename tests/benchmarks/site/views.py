"""The views of the compared sites."""

from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


class WhoAmI(APIView):
    def get(self, request: Request) -> Response:
        # The id of SimpleJWT's stateless user is a string.
        return Response({"id": int(request.user.pk), "username": request.user.username})


class Anyone(APIView):
    """The same answer without authentication."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def get(self, request: Request) -> Response:
        return Response({"id": 1, "username": "ann"})
