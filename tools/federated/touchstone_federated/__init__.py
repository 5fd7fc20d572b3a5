"""Flower drives `touchstone-tools federated client`: a thin adapter, no learning in Python."""
