"""The web pages: the chat room. Server-rendered, own files only, no build step."""
