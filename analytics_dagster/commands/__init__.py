"""What the commands of the command line do; `cli.py` says what there is and how it is called."""
