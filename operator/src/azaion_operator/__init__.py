"""Operator of Azaion Training."""
