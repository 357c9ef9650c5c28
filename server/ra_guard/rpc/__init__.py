"""The wire: the only place, besides clients, that knows gRPC."""
