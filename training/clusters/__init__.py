"""Clusters similar customers: prepares a matrix, compares methods and keeps the chosen one for new customers."""
