"""What README's performance table is made with: `make bench` runs every measurement here, side by side in one run."""
