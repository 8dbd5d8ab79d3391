"""The protocols of shippers, taken apart: pure, bounded, one file each. `delivery` is what they all give."""
