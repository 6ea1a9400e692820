"""What an API file may say, and how files are found, read and checked. Imports nothing of ours."""
