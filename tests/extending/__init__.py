"""What is added from outside the package, and what it is held to."""
