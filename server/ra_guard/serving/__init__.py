"""The data path in Python: what happens once per call. Knows neither gRPC nor the control path."""
