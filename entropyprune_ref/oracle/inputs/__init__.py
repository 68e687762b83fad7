"""Inputs that hurt: strategies for the arguments of every contract, one room for each kind."""
