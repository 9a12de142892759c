"""What every training shares: settings, the run folder, the weights it starts from."""
