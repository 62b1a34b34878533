"""One file a revision; together they build the tables of daemon.schema."""
