"""Device Bound Session Credentials (W3C draft): a browser proves its key, so that a copied cookie is not enough."""
