"""The engine carries out what the core decides: follows the log into the store, groups writes into batches, waits."""
