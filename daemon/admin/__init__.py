"""`aprilgan-admin`: one file a noun; `__main__` puts them together and knows the exit codes."""
