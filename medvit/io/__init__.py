"""From files to cases, volumes and images."""
