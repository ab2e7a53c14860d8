"""What the canary's methods find, and how often they are wrong, in thousands of simulated rollouts."""
