"""The local web server that shows the app."""
