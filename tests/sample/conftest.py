"""Nothing here is a test of the project: tests/project/test_product.py copies the sample to the place of a product."""

collect_ignore_glob = ["*"]
