"""The replica: follows one shared log into memory, serves reads from there, appends writes to the log."""
