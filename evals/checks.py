"""What `manage.py check` and `doctor` ask of this app. None yet."""
