"""The synthetic shop: simulates customers, visits, clicks and orders."""
