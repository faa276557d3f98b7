"""The synthetic shop: customers, visits, clicks and orders."""
