"""Makes the consumer kit: sample records of every kind, byte by byte as the processor writes them."""
