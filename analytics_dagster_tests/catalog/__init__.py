"""The ready files, each against a simulation of what its vendor documents."""
