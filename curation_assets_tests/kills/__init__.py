"""Random SIGKILLs of commands: what is stored in the end is what an undisturbed command stores."""
