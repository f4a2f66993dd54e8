"""The KeOps backend: one kernel for each formula, dtype and number of features."""
