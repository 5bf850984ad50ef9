"""A stock Django project with SimpleJWT, set up as the documentation of both shows: the peer of `costs`."""
