"""Customers who are alike: a table to a matrix, methods compared, the chosen one kept for new customers."""
