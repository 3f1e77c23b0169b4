"""What every app's admin and API build on: each person sees and changes what the matrix in roles.py allows."""
