"""Jobs: one module for each thing that Shopstream does, called by commands, notebooks, tests and the demo."""
