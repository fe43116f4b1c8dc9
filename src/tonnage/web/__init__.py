"""What a request meets, in order: the proxy's word, operations' endpoints, the gate, the app."""
