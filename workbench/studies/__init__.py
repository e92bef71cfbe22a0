"""Studies: steps of the workbench that answer a published question on real data, at some scale."""
