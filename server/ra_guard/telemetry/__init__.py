"""What is told about calls: a line, metrics, spans. Nothing of it is rendered on the thread that answers."""
