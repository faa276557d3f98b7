"""The live page: the declared dashboards in a browser, and the customers behind them."""
