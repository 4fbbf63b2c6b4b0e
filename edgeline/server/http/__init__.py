"""HTTP/1.1 and HTTP/2: bytes to requests and back."""
