"""A Ray cluster: roles as its actors (`runtime`, `actors`), work on its machines (`jobs`), Ray itself (`library`)."""
