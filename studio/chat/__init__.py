"""Chat: an OpenAI-compatible server over one base model and many adapters, and its client.

`generation` and `engine` need torch and run in workers; `client` is what the window uses, without torch.
"""
