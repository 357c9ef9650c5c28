"""Generated from proto/ra_guard/v1; `make proto` writes it anew."""
