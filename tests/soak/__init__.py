"""A soak: random fits of random mixtures to ugly data, each known by its seed."""
