from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


class WhoAmI(APIView):
    def get(self, request: Request) -> Response:
        # SimpleJWT's stateless user has a text for an id.
        return Response({"id": int(request.user.pk), "username": request.user.username})
