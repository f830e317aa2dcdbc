"""Two processes hold a conversation, and lose nothing that anyone listens for."""
