"""What a call costs: CPU per call and ratios, measured side by side in one run. `make bench`."""
